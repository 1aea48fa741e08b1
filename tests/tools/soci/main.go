// SOCI for `make bench-start`, of the project's own packages. Its command line and its daemon are in a module that has
// no version of its own.
//
//	soci convert LAYOUT           gives the image of an OCI layout a SOCI index of version 2, in place
//	soci serve CONFIG ROOT SOCKET answers containerd's requests for snapshots
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/awslabs/soci-snapshotter/config"
	"github.com/awslabs/soci-snapshotter/fs"
	"github.com/awslabs/soci-snapshotter/metadata"
	"github.com/awslabs/soci-snapshotter/service"
	"github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/awslabs/soci-snapshotter/ztoc"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
)

func convert(ctx context.Context, folder string) error {
	blobs, err := store.NewSociStore(folder)
	if err != nil {
		return err
	}
	tag, image, err := onlyImage(ctx, blobs.Store)
	if err != nil {
		return err
	}
	content, err := local.NewStore(folder)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "soci-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	artifacts, err := soci.NewDB(filepath.Join(work, "artifacts.db"))
	if err != nil {
		return err
	}
	builder, err := soci.NewIndexBuilder(content, blobs, soci.WithArtifactsDb(artifacts))
	if err != nil {
		return err
	}
	converted, err := builder.Convert(ctx, images.Image{Name: tag, Target: image})
	if err != nil {
		return err
	}
	return blobs.Tag(ctx, *converted, tag)
}

func serve(ctx context.Context, file, root, socket string) error {
	configuration, err := config.NewConfigFromToml(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	// The daemon's options.
	options := bolt.Options{NoFreelistSync: true, InitialMmapSize: 64 << 20, FreelistType: bolt.FreelistMapType}
	database, err := bolt.Open(filepath.Join(root, "metadata.db"), 0o600, &options)
	if err != nil {
		return err
	}
	read := func(reader *io.SectionReader, contents ztoc.TOC, options ...metadata.Option) (metadata.Reader, error) {
		return metadata.NewReader(database, reader, contents, options...)
	}
	store := service.WithFilesystemOptions(fs.WithMetadataStore(read))
	snapshotter, err := service.NewSociSnapshotterService(ctx, root, &configuration.ServiceConfig, store)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(passNamespace))
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", filepath.Clean(socket))
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

// passNamespace gives containerd's namespace, which came with a request, to the requests that follow from it: a
// parallel pull reads manifests from containerd.
func passNamespace(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		ctx = namespaces.WithNamespace(ctx, namespace)
	}
	return handle(ctx, request)
}

func run(arguments []string) error {
	ctx := context.Background()
	switch {
	case len(arguments) == 2 && arguments[0] == "convert":
		return convert(ctx, arguments[1])
	case len(arguments) == 4 && arguments[0] == "serve":
		return serve(ctx, arguments[1], arguments[2], arguments[3])
	}
	return fmt.Errorf("usage: soci convert LAYOUT | serve CONFIG ROOT SOCKET")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}
