//go:build tools

// Package tools pins the validator of Kubernetes manifests.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
