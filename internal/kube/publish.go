package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// configMaps is the resource.
const configMaps = "configmaps"

// Publisher keeps one key of a ConfigMap at what Content returns.
type Publisher struct {
	Client          rest.Interface // of the core group
	Namespace, Name string
	Key             string
	Content         func() (string, error)
	// Every is the least time between two writes: each node's kubelet reads them.
	Every time.Duration
	Log   *slog.Logger
}

// Run writes where something changed, until ctx ends. What fails is logged, and
// tried again after Every.
func (p *Publisher) Run(ctx context.Context) {
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	written := ""
	for {
		content, err := p.publish(ctx, written)
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("ConfigMap not written", "namespace", p.Namespace, "name", p.Name, "err", err)
		} else {
			written = content
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// publish returns what the ConfigMap has now.
func (p *Publisher) publish(ctx context.Context, written string) (string, error) {
	content, err := p.Content()
	if err != nil || content == written {
		return written, err
	}
	var kept corev1.ConfigMap
	err = p.Client.Get().Namespace(p.Namespace).Resource(configMaps).Name(p.Name).Do(ctx).Into(&kept)
	if apierrors.IsNotFound(err) {
		made := corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
			Data:       map[string]string{p.Key: content},
		}
		return content, p.Client.Post().Namespace(p.Namespace).Resource(configMaps).Body(&made).Do(ctx).Error()
	}
	if err != nil {
		return written, fmt.Errorf("read it: %w", err)
	}
	if kept.Data[p.Key] == content {
		return content, nil
	}
	kept.Data = map[string]string{p.Key: content}
	return content, p.Client.Put().Namespace(p.Namespace).Resource(configMaps).Name(p.Name).Body(&kept).Do(ctx).Error()
}
