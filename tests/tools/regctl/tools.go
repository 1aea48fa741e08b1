//go:build tools

// Package tools pins what the benchmark compares with.
package tools

import _ "github.com/regclient/regclient/cmd/regctl"
