// Decompresses layers as a node does, with containerd's own code, and prints each layer's plain bytes and the
// seconds that it took. containerd runs igzip or unpigz for gzip if PATH has one. `make bench` runs this.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
)

func decode(path string) (int64, time.Duration, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	started := time.Now()
	plain, err := compression.DecompressStream(file)
	if err != nil {
		return 0, 0, err
	}
	defer plain.Close()
	count, err := io.Copy(io.Discard, plain)
	return count, time.Since(started), err
}

func main() {
	for _, path := range os.Args[1:] {
		count, took, err := decode(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: failed to decompress %s: %v\n", path, err)
			os.Exit(1)
		}
		fmt.Printf("%d %.6f\n", count, took.Seconds())
	}
}
