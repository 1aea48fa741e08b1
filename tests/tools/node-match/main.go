// Command node-match tells which nodes a pod may be scheduled to, by the scheduler's own library for node
// selectors, node affinity, taints and tolerations. Resources, spreading and pod affinity only remove nodes from
// that set.
//
// Input: {"nodes": [Node], "pods": [Pod]}. Output: for each pod, the indexes of its nodes.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

type input struct {
	Nodes []v1.Node `json:"nodes"`
	Pods  []v1.Pod  `json:"pods"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "node-match:", err)
		os.Exit(1)
	}
}

func run() error {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return fmt.Errorf("failed to read nodes and pods: %w", err)
	}
	out := make([][]int, 0, len(in.Pods))
	for i := range in.Pods {
		out = append(out, nodesOf(&in.Pods[i], in.Nodes))
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func nodesOf(pod *v1.Pod, nodes []v1.Node) []int {
	matches := []int{}
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	for i := range nodes {
		node := &nodes[i]
		if pod.Spec.NodeName != "" {
			// The pod bypasses the scheduler.
			if pod.Spec.NodeName == node.Name {
				matches = append(matches, i)
			}
			continue
		}
		// The scheduler's filter ignores the error of an invalid term too.
		selected, _ := affinity.Match(node)
		_, repelled := schedulingv1.FindMatchingUntoleratedTaint(
			klog.Background(), node.Spec.Taints, pod.Spec.Tolerations, repels, false)
		if selected && !repelled {
			matches = append(matches, i)
		}
	}
	return matches
}

// repels reports whether the scheduler's filter respects a taint of this effect.
func repels(taint *v1.Taint) bool {
	return taint.Effect == v1.TaintEffectNoSchedule || taint.Effect == v1.TaintEffectNoExecute
}
