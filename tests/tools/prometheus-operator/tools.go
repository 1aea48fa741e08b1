//go:build tools

// Package tools names a package of the module whose definitions the tests read, so that go.mod and go.sum pin it.
package tools

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/versionutil"
)
