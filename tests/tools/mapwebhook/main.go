// Replaces the images of new pods by a map, on controller-runtime as its documentation shows: the smallest
// webhook that does the lookup of zstart's. `make bench-webhook` measures both.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

type replacer struct {
	images  map[string]string
	decoder admission.Decoder
}

func (r *replacer) Handle(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := r.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for index := range containers {
			if image, found := r.images[containers[index].Image]; found {
				containers[index].Image = image
			}
		}
	}
	replaced, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, replaced)
}

func run(images, certificates, metrics string, port int) error {
	log.SetLogger(logr.Discard())
	text, err := os.ReadFile(images)
	if err != nil {
		return err
	}
	hook := &replacer{decoder: admission.NewDecoder(scheme.Scheme)}
	if err := json.Unmarshal(text, &hook.images); err != nil {
		return err
	}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "review_seconds",
		Help:    "Seconds from a request's head to the end of its response",
		Buckets: []float64{5e-5, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 75e-5, 1e-3, 15e-4, 2e-3, 3e-3, 5e-3, 1e-2, 5e-2, 1e-1, 5e-1, 1, 2},
	}, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(seconds)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certificates})
	server.Register("/mutate", promhttp.InstrumentHandlerDuration(seconds, &webhook.Admission{Handler: hook}))
	failed := make(chan error, 2)
	go func() { failed <- server.Start(signals.SetupSignalHandler()) }()
	go func() { failed <- http.ListenAndServe(metrics, nil) }()
	return <-failed
}

func main() {
	images := flag.String("images", "", "JSON file with an object of images and their replacements")
	certificates := flag.String("certificates", "", "folder with tls.crt and tls.key")
	metrics := flag.String("metrics", "", "address of the metrics")
	port := flag.Int("port", 0, "port of the webhook on 127.0.0.1")
	flag.Parse()
	if err := run(*images, *certificates, *metrics, *port); err != nil {
		os.Stderr.WriteString("error: " + err.Error() + "\n")
		os.Exit(1)
	}
}
