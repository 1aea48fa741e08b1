//go:build tools

// Package tools names what the lab builds, so that go.mod and go.sum pin it.
package tools

import (
	_ "sigs.k8s.io/kueue/cmd/kueue"
)
