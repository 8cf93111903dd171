package certificate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

const (
	// bundleMaxPage bounds one page of a listing, in bytes. One object has 1.5 MiB at
	// most in etcd, and somewhat more as JSON.
	bundleMaxPage = 128 << 20
	// bundleMaxPages bounds a listing.
	bundleMaxPages = 2000
	// bundleMaxName bounds a name; Kubernetes allows 253 bytes.
	bundleMaxName = 512
)

// bundleKind is a kind of objects that have caBundles.
type bundleKind struct {
	source Source
	// prefix of the name in a location.
	prefix string
	path   string
	// limit is how many objects are asked for at once.
	limit int
}

// bundleKinds lists them. CustomResourceDefinitions carry the schema of a type, in
// each of its versions, and are hundreds of times larger than the others.
func bundleKinds() []bundleKind {
	return []bundleKind{
		{SourceWebhook, "validating/", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", 50},
		{SourceWebhook, "mutating/", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", 50},
		{SourceAPIService, "", "/apis/apiregistration.k8s.io/v1/apiservices", 50},
		{SourceCRD, "", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", 10},
	}
}

// bundleClient says how the API server calls a server, and whom it trusts then.
type bundleClient struct {
	source        Source
	location, key string
	class         Class
	// bundle is the caBundle as it is written, in base64.
	bundle string
	// service or url is where the server is; one of them is set.
	service *bundleService
	url     string
}

// bundleService is a reference to a Service.
type bundleService struct {
	Namespace, Name string
	Port            int // 0: 443
}

// bundleObject is what is used of an object, whichever of the kinds it is.
type bundleObject struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	// Webhooks are those of a webhook configuration.
	Webhooks []struct {
		Name         string
		ClientConfig bundleClientConfig
	}
	Spec struct {
		// These are of an APIService.
		bundleClientConfig
		InsecureSkipTLSVerify bool
		// Conversion is of a CustomResourceDefinition.
		Conversion struct {
			Strategy string
			Webhook  struct{ ClientConfig bundleClientConfig }
		}
	}
}

type bundleClientConfig struct {
	CABundle string
	Service  *bundleService
	URL      string
}

// clients are the caBundles of an object, and whom they are to verify.
func (k bundleKind) clients(o *bundleObject) ([]bundleClient, error) {
	if o.Metadata.Name == "" || len(o.Metadata.Name) > bundleMaxName {
		return nil, fmt.Errorf("an object has a name of %d bytes: %w", len(o.Metadata.Name), collector.ErrDecode)
	}
	var clients []bundleClient
	add := func(key string, config bundleClientConfig) {
		if config.CABundle == "" && config.Service == nil && config.URL == "" {
			return
		}
		clients = append(clients, bundleClient{
			source: k.source, location: k.prefix + o.Metadata.Name, key: key, class: o.class(),
			bundle: config.CABundle, service: config.Service, url: config.URL,
		})
	}
	switch k.source {
	case SourceAPIService:
		// Without a Service, the API server answers itself.
		if !o.Spec.InsecureSkipTLSVerify && o.Spec.Service != nil {
			add("", o.Spec.bundleClientConfig)
		}
	case SourceCRD:
		if o.Spec.Conversion.Strategy == "Webhook" {
			add("", o.Spec.Conversion.Webhook.ClientConfig)
		}
	default:
		for _, w := range o.Webhooks {
			if len(w.Name) > bundleMaxName {
				return nil, fmt.Errorf("%s%.100q has a webhook with a name of %d bytes: %w", k.prefix, o.Metadata.Name, len(w.Name), collector.ErrDecode)
			}
			add(w.Name, w.ClientConfig)
		}
	}
	return clients, nil
}

// class is automatic where cert-manager keeps the caBundle.
func (o *bundleObject) class() Class {
	for _, annotation := range []string{"cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret"} {
		if o.Metadata.Annotations[annotation] != "" {
			return ClassAutomatic
		}
	}
	return ClassManual
}

// list lists all clients of the kind, page by page. An API that does not exist has
// none. It returns all of them or an error.
func (k bundleKind) list(ctx context.Context, client rest.Interface) ([]bundleClient, error) {
	var clients []bundleClient
	next := ""
	for page := range bundleMaxPages {
		body, err := k.page(ctx, client, next)
		if page == 0 && apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.path, kube.Classify(err))
		}
		next, err = bundleReadPage(body, func(o *bundleObject) error {
			found, err := k.clients(o)
			clients = append(clients, found...)
			return err
		})
		_ = body.Close() // it has been read
		if err != nil {
			return nil, fmt.Errorf("list %s: page %d: %w", k.path, page+1, err)
		}
		if next == "" {
			return clients, nil
		}
	}
	return nil, fmt.Errorf("list %s: more than %d pages: %w", k.path, bundleMaxPages, collector.ErrDecode)
}

// page asks for one page. No resource version is asked for: version 0 lets an API
// server answer with all objects at once, whatever the limit.
func (k bundleKind) page(ctx context.Context, client rest.Interface, next string) (io.ReadCloser, error) {
	request := client.Get().AbsPath(k.path).SetHeader("Accept", "application/json").Param("limit", strconv.Itoa(k.limit))
	if next != "" {
		request = request.Param("continue", next)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	return http.MaxBytesReader(nil, body, bundleMaxPage), nil
}

// bundleReadPage reads a page in JSON as it arrives, calls each for every object,
// and returns where the next page begins, empty on the last one. Each object is
// dropped before the next one is read. After an error each has not seen all.
func bundleReadPage(r io.Reader, each func(*bundleObject) error) (next string, err error) {
	p := bundlePage{json.NewDecoder(r), each}
	next, err = p.read()
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	_, isType := errors.AsType[*json.UnmarshalTypeError](err)
	_, isSize := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isSyntax, isType, isSize:
		err = fmt.Errorf("%w: %w", collector.ErrDecode, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("it breaks off: %w: %w", collector.ErrUnavailable, err)
	}
	return next, err
}

type bundlePage struct {
	*json.Decoder
	each func(*bundleObject) error
}

func (p bundlePage) read() (next string, err error) {
	if err := p.expect('{'); err != nil {
		return "", err
	}
	items := false
	for p.More() {
		field, err := p.Token()
		if err != nil {
			return "", err
		}
		switch field {
		case "metadata":
			var metadata struct{ Continue string }
			err = p.Decode(&metadata)
			next = metadata.Continue
		case "items":
			items = true
			err = p.items()
		default:
			var ignored json.RawMessage
			err = p.Decode(&ignored)
		}
		if err != nil {
			return "", err
		}
	}
	if err := p.expect('}'); err != nil {
		return "", err
	}
	if !items {
		return "", fmt.Errorf("no list: %w", collector.ErrDecode)
	}
	switch _, err := p.Token(); {
	case err == nil:
		return "", fmt.Errorf("something follows the list: %w", collector.ErrDecode)
	case !errors.Is(err, io.EOF):
		return "", err
	}
	return next, nil
}

func (p bundlePage) items() error {
	token, err := p.Token()
	if err != nil || token == nil { // null: no items
		return err
	}
	if token != json.Delim('[') {
		return fmt.Errorf("items are no list: %w", collector.ErrDecode)
	}
	for p.More() {
		var o bundleObject
		if err := p.Decode(&o); err != nil {
			return err
		}
		if err := p.each(&o); err != nil {
			return err
		}
	}
	return p.expect(']')
}

func (p bundlePage) expect(delimiter json.Delim) error {
	token, err := p.Token()
	if err != nil {
		return err
	}
	if token != delimiter {
		return fmt.Errorf("%v in place of %v: %w", token, delimiter, collector.ErrDecode)
	}
	return nil
}
