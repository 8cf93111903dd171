//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	fieldManager = "e2e"
	// decoderBuffer is how far a decoder looks to tell YAML from JSON.
	decoderBuffer = 4 << 10
)

// Apply makes or changes the objects of a manifest, in YAML or JSON, by
// server-side apply: what an earlier manifest said and this one does not is
// removed. A status is written too, as the controller of the object would. An
// object without a namespace goes to the default one.
func (c *Cluster) Apply(ctx context.Context, manifest []byte) error {
	objects, err := decode(manifest)
	if err != nil {
		return err
	}
	return c.apply(ctx, objects)
}

// ApplyFile is Apply for a file.
func (c *Cluster) ApplyFile(ctx context.Context, path string) error {
	manifest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, manifest); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// GrantShipped makes the namespace of the exporter, and gives the cluster role the rights
// that the project ships.
func (c *Cluster) GrantShipped(ctx context.Context) error {
	repository, err := Repository(ctx)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: ack-exporter}}`)); err != nil {
		return err
	}
	return c.ApplyFile(ctx, filepath.Join(repository, "deploy", "rbac", "cluster.yaml"))
}

// Put is Apply for typed objects. They may come from the API.
func (c *Cluster) Put(ctx context.Context, objects ...runtime.Object) error {
	converted := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		u, err := toUnstructured(object)
		if err != nil {
			return err
		}
		converted = append(converted, u)
	}
	return c.apply(ctx, converted)
}

// Delete removes objects that are there, at once: there is no kubelet that a pod
// would have to wait for. A namespace never goes away, as its contents do so only
// by a controller.
func (c *Cluster) Delete(ctx context.Context, objects ...runtime.Object) error {
	for _, object := range objects {
		if err := c.delete(ctx, object); err != nil {
			return fmt.Errorf("delete %T: %w", object, err)
		}
	}
	return nil
}

func (c *Cluster) delete(ctx context.Context, object runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := toUnstructured(object)
	if err != nil {
		return err
	}
	resource, err := c.resource(u)
	if err != nil {
		return err
	}
	var now int64
	return resource.Delete(ctx, u.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
}

func (c *Cluster) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if err := c.applyOne(ctx, object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func (c *Cluster) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resource, err := c.resource(object)
	if err != nil {
		return err
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
		return err
	}
	if empty(object.Object["status"]) {
		return nil
	}
	_, err = resource.ApplyStatus(ctx, object.GetName(), object, options)
	return err
}

// resource is where the API has the object.
func (c *Cluster) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		// A CustomResourceDefinition may have made it known since.
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	resources := c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return resources, nil
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	return resources.Namespace(object.GetNamespace()), nil
}

// decode reads the objects of a manifest, also those in lists.
func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), decoderBuffer)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) == 0:
			// Nothing but a comment.
		case object.IsList():
			err := object.EachListItem(func(item runtime.Object) error {
				u, ok := item.(*unstructured.Unstructured)
				if !ok {
					return fmt.Errorf("a %T in a list", item)
				}
				objects = append(objects, u)
				return nil
			})
			if err != nil {
				return nil, err
			}
		default:
			objects = append(objects, object)
		}
	}
}

func toUnstructured(object runtime.Object) (*unstructured.Unstructured, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kinds[0])
	// What the API has added to an object and takes from nobody.
	u.SetManagedFields(nil)
	u.SetResourceVersion("")
	return u, nil
}

// empty tells whether a value says nothing: Go writes the parts of a status that
// was not set, but not their fields.
func empty(value any) bool {
	fields, ok := value.(map[string]any)
	if !ok {
		return value == nil
	}
	for _, field := range fields {
		if !empty(field) {
			return false
		}
	}
	return true
}
