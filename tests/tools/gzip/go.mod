module zstart.dev/lab/gzip

go 1.26.6

require github.com/klauspost/compress v1.20.0
