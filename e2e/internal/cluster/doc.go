//go:build e2e

// Package cluster runs a real Kubernetes API and real CoreDNS servers: etcd and
// kube-apiserver with RBAC and an audit log in a sandbox, without nodes. What
// nodes, kubelets and controllers would write, the caller writes itself, so that it
// knows what is true; or else it asks for the real controllers, and starts real
// nodes by package kubelet.
//
// Each cluster has a sandbox of its own and thereby its own network: addresses and
// ports are the same in all of them. The sandbox stands for the cluster's network;
// Join connects others to it, as nodes or pods.
//
// The programs are built from source by the Go modules below build/, once, into
// the user's cache. That takes minutes; the environment variable
// E2E_CLUSTER_BIN names a folder of prebuilt ones instead.
package cluster
