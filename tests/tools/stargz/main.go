// eStargz and zstd:chunked for `make bench-start`, of the project's own packages. Its command line and its daemon are
// in a module that has no version of its own.
//
//	stargz convert FORM LAYOUT      converts the image of an OCI layout, in place, to "estargz" or "zstdchunked"
//	stargz serve CONFIG ROOT SOCKET answers containerd's requests for snapshots
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/nativeconverter/estargz"
	"github.com/containerd/stargz-snapshotter/nativeconverter/zstdchunked"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/grpc"
)

// forms has the projects' default levels: the best of gzip, and 3 of zstd.
var forms = map[string]converter.ConvertFunc{
	"estargz":     estargz.LayerConvertFunc(),
	"zstdchunked": zstdchunked.LayerConvertFunc(),
}

func convert(ctx context.Context, form, folder string) error {
	layers, isKnown := forms[form]
	if !isKnown {
		return fmt.Errorf("%q is not a form of an image; forms are: estargz zstdchunked", form)
	}
	layout, err := openLayout(folder)
	if err != nil {
		return err
	}
	function := converter.DefaultIndexConvertFunc(layers, true, platforms.All)
	converted, err := function(ctx, layout.store, layout.image())
	if err != nil {
		return err
	}
	if converted == nil {
		return fmt.Errorf("%s holds nothing to convert", folder)
	}
	return layout.replaceImage(*converted)
}

func serve(ctx context.Context, file, root, socket string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config service.Config
	if err := toml.Unmarshal(text, &config); err != nil {
		return err
	}
	snapshotter, err := service.NewStargzSnapshotterService(ctx, root, &config)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", filepath.Clean(socket))
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

func run(arguments []string) error {
	ctx := context.Background()
	switch {
	case len(arguments) == 3 && arguments[0] == "convert":
		return convert(ctx, arguments[1], arguments[2])
	case len(arguments) == 4 && arguments[0] == "serve":
		return serve(ctx, arguments[1], arguments[2], arguments[3])
	}
	return fmt.Errorf("usage: stargz convert FORM LAYOUT | serve CONFIG ROOT SOCKET")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}
