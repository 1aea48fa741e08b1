//go:build tools

// Package tools names what the lab builds, so that go.mod and go.sum pin it.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
