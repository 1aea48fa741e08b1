package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI layout of one image. containerd's content store has the layout's folders.
type layout struct {
	file  string
	index ocispec.Index
	store content.Store
}

func openLayout(folder string) (*layout, error) {
	file := filepath.Join(folder, "index.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d manifests, and one is needed", file, len(index.Manifests))
	}
	store, err := local.NewLabeledStore(folder, &labels{all: map[digest.Digest]map[string]string{}})
	return &layout{file: file, index: index, store: store}, err
}

func (l *layout) image() ocispec.Descriptor {
	return l.index.Manifests[0]
}

// replaceImage keeps the tag, which is an annotation of the old descriptor.
func (l *layout) replaceImage(image ocispec.Descriptor) error {
	image.Annotations = l.image().Annotations
	l.index.Manifests[0] = image
	text, err := json.Marshal(l.index)
	if err != nil {
		return err
	}
	return os.WriteFile(l.file, text, 0o644)
}

// labels keeps the labels of blobs in memory: the converters write some.
type labels struct {
	mutex sync.Mutex
	all   map[digest.Digest]map[string]string
}

func (l *labels) Get(blob digest.Digest) (map[string]string, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return maps.Clone(l.all[blob]), nil
}

func (l *labels) Set(blob digest.Digest, labels map[string]string) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all[blob] = maps.Clone(labels)
	return nil
}

func (l *labels) Update(blob digest.Digest, changes map[string]string) (map[string]string, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	updated := maps.Clone(l.all[blob])
	if updated == nil {
		updated = map[string]string{}
	}
	for key, value := range changes {
		if value == "" {
			delete(updated, key)
		} else {
			updated[key] = value
		}
	}
	l.all[blob] = updated
	return maps.Clone(updated), nil
}
