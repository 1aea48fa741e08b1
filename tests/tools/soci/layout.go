package main

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/oci"
)

// onlyImage returns the only tag of an OCI layout and its descriptor.
func onlyImage(ctx context.Context, layout *oci.Store) (string, ocispec.Descriptor, error) {
	var tags []string
	err := layout.Tags(ctx, "", func(page []string) error {
		tags = append(tags, page...)
		return nil
	})
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	if len(tags) != 1 {
		return "", ocispec.Descriptor{}, fmt.Errorf("the layout has the tags %v, and one is needed", tags)
	}
	image, err := layout.Resolve(ctx, tags[0])
	return tags[0], image, err
}
