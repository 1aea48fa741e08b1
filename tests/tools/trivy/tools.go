//go:build tools

// Package tools pins a scanner that reads what zstart writes.
package tools

import _ "github.com/aquasecurity/trivy/cmd/trivy"
