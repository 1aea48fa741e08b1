module zstart.dev/lab/decode

go 1.26.6

require github.com/containerd/containerd/v2 v2.4.2

require (
	github.com/containerd/log v0.2.0 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
