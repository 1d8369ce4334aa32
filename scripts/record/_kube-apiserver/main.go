// Command kube-apiserver is the Kubernetes API server with its etcd in the same
// process, for recordings: nothing to install, nothing left running.
//
// It is built in a throw-away module (see programs.py), never as part
// of this repository's modules; the go command skips this folder.
package main

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "run kube-apiserver:", err)
		os.Exit(1)
	}
}

// run serves until a signal; ETCD_DIR, ETCD_CLIENT_URL and ETCD_PEER_URL place etcd.
func run() error {
	cfg := embed.NewConfig()
	cfg.Dir = os.Getenv("ETCD_DIR")
	client, err := url.Parse(os.Getenv("ETCD_CLIENT_URL"))
	if err != nil {
		return fmt.Errorf("parse ETCD_CLIENT_URL: %w", err)
	}
	peer, err := url.Parse(os.Getenv("ETCD_PEER_URL"))
	if err != nil {
		return fmt.Errorf("parse ETCD_PEER_URL: %w", err)
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.LogLevel = "error"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return fmt.Errorf("start etcd: not ready within a minute")
	}
	cmd := app.NewAPIServerCommand()
	cmd.SetArgs(os.Args[1:])
	return cmd.Execute()
}
