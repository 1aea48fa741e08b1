// Compresses standard input with a gzip encoder in Go, and writes it to standard output. `make bench-layers` runs
// this: images are built with either library.
package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strconv"

	klauspost "github.com/klauspost/compress/gzip"
)

func encoder(library string, level int) (io.WriteCloser, error) {
	switch library {
	case "std":
		return gzip.NewWriterLevel(os.Stdout, level)
	case "klauspost":
		return klauspost.NewWriterLevel(os.Stdout, level)
	}
	return nil, fmt.Errorf("unknown library %q", library)
}

func run(library, level string) error {
	number, err := strconv.Atoi(level)
	if err != nil {
		return err
	}
	target, err := encoder(library, number)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(target, struct{ io.Reader }{os.Stdin}, make([]byte, 32<<10)); err != nil {
		return err
	}
	return target.Close()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go-gzip std|klauspost LEVEL")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error: failed to compress:", err)
		os.Exit(1)
	}
}
