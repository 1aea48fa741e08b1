// Copies an image as `skopeo copy --dest-compress-format zstd --dest-force-compress-format` does:
// skopeo's own engine, without its command line, whose newer versions can't be built as a module.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/transports/alltransports"
	"go.podman.io/image/v5/types"
)

func run(source, target, level string) error {
	from, err := alltransports.ParseImageName(source)
	if err != nil {
		return err
	}
	to, err := alltransports.ParseImageName(target)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(level)
	if err != nil {
		return err
	}
	everything, err := signature.NewPolicyContext(&signature.Policy{
		Default: []signature.PolicyRequirement{signature.NewPRInsecureAcceptAnything()},
	})
	if err != nil {
		return err
	}
	plain := types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}
	packed := plain
	packed.CompressionFormat = &compression.Zstd
	packed.CompressionLevel = &number
	_, err = copy.Image(context.Background(), everything, to, from, &copy.Options{
		SourceCtx:              &plain,
		DestinationCtx:         &packed,
		ForceCompressionFormat: true,
	})
	return err
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: skopeo-copy SOURCE TARGET LEVEL, e.g. docker://host/app:v1 docker://host/app:v1-zstd 3")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
