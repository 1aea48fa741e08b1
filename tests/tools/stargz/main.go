// eStargz for `make bench-start`, of the project's own packages. Its command line and its daemon are in a module that
// has no version of its own.
//
//	stargz convert LAYOUT           converts the image of an OCI layout, in place
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
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/grpc"
)

func convert(ctx context.Context, folder string) error {
	layout, err := openLayout(folder)
	if err != nil {
		return err
	}
	function := converter.DefaultIndexConvertFunc(estargz.LayerConvertFunc(), true, platforms.All)
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
	case len(arguments) == 2 && arguments[0] == "convert":
		return convert(ctx, arguments[1])
	case len(arguments) == 4 && arguments[0] == "serve":
		return serve(ctx, arguments[1], arguments[2], arguments[3])
	}
	return fmt.Errorf("usage: stargz convert LAYOUT | serve CONFIG ROOT SOCKET")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}
