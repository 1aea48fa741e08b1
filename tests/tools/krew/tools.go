//go:build tools

// Package tools pins the plugin manager that the plugin's package is tested with.
package tools

import _ "sigs.k8s.io/krew/cmd/krew"
