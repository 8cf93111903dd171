package kube

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/framer"
	"k8s.io/apimachinery/pkg/watch"

	"ack-exporter/internal/kube/kubetest"
)

// oneFrame is a framer over a reader.
type oneFrame struct{ r io.Reader }

func (f *oneFrame) Read(p []byte) (int, error) {
	r := framer.NewLengthDelimitedFrameReader(io.NopCloser(f.r))
	return r.Read(p)
}

// TestReadListAtEveryCut breaks a list off after each byte: only the whole is one.
func TestReadListAtEveryCut(t *testing.T) {
	t.Parallel()
	list := &corev1.SecretList{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more", RemainingItemCount: new(int64)},
		Items:    []corev1.Secret{*secret("a", "one", "1"), *secret("a", "two", "2")},
	}
	whole := kubetest.Encode(list)
	for n := range len(whole) {
		var s scratch
		_, err := readList(bytes.NewReader(whole[:n]), &s, func(Object) error { return nil })
		// The envelope ends with two empty fields.
		if n < len(whole)-4 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	var s scratch
	var names []string
	p, err := readList(iotest.OneByteReader(bytes.NewReader(whole)), &s, func(o Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err != nil || p != (page{"9", "more"}) || strings.Join(names, " ") != "one two" {
		t.Errorf("%+v %q %v", p, names, err)
	}
}

func TestNewEventAtEveryCut(t *testing.T) {
	t.Parallel()
	one := secret("a", "one", "1")
	one.ResourceVersion, one.UID = "7", "u"
	frame := kubetest.Frame(watch.Added, one)[4:]
	for n := range len(frame) {
		// A message without its last field is one too; what is missing here is more.
		if e, err := newEvent(frame[:n], true); err == nil {
			t.Errorf("%d of %d bytes: %+v", n, len(frame), e)
		}
	}
	e, err := newEvent(frame, true)
	if err != nil || e.kind != watch.Added || e.object.Name != "one" || e.object.state != "u/7" || e.object.version != "7" {
		t.Errorf("%+v %v", e, err)
	}
}

// FuzzReadList proves that a list is read within bounds, whatever it is.
func FuzzReadList(f *testing.F) {
	list := &corev1.SecretList{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"},
		Items:    []corev1.Secret{*secret("a", "one", "1"), *secret("a", "two", "2")},
	}
	f.Add(kubetest.Encode(list))
	f.Add(kubetest.Encode(&corev1.SecretList{}))
	f.Add(kubetest.Encode(kubetest.Status(410, metav1.StatusReasonExpired)))
	f.Add([]byte(magic + "\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var s scratch
		size := 0
		p, err := readList(bytes.NewReader(content), &s, func(o Object) error {
			size += len(o.Bytes)
			o.HasAnnotation("x")
			_, err := o.key()
			return err
		})
		if size > len(content) || len(s.buffer) > MaxObject || s.used != 0 {
			t.Errorf("%d bytes of objects in %d, a buffer of %d", size, len(content), len(s.buffer))
		}
		if err == nil && p.version == "" {
			t.Error("a list without a version")
		}
	})
}

// FuzzEvents does it for what a watch sends.
func FuzzEvents(f *testing.F) {
	one := secret("a", "one", "1")
	one.ResourceVersion = "7"
	f.Add(kubetest.Frame(watch.Added, one))
	f.Add(append(kubetest.Frame(watch.Bookmark, one), kubetest.Frame(watch.Deleted, one)...))
	f.Add(kubetest.Frame(watch.Error, kubetest.Status(410, metav1.StatusReasonExpired)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		frames := framer.NewLengthDelimitedFrameReader(io.NopCloser(bytes.NewReader(content)))
		feed := &Feed[string]{objects: make(map[string]digested[string]), digest: describe}
		var s scratch
		for {
			if _, _, err := nextEvent(frames, &s, feed.apply); err != nil {
				break
			}
		}
		if len(s.buffer) > MaxObject || s.used != 0 {
			t.Errorf("a buffer of %d, %d used", len(s.buffer), s.used)
		}
		for key := range feed.objects {
			if !strings.Contains(key, "/") {
				t.Errorf("an object %q", key)
			}
		}
	})
}

// FuzzTruncated proves that the beginning of an object is enough for its name, and
// that no beginning makes trouble.
func FuzzTruncated(f *testing.F) {
	one := secret("a", "one", strings.Repeat("x", headOfLarge))
	one.ResourceVersion = "7"
	f.Add(kubetest.Frame(watch.Added, one)[4:][:headOfLarge])
	f.Fuzz(func(t *testing.T, frame []byte) {
		e, err := newEvent(frame, false)
		if err == nil && e.object.Bytes != nil {
			t.Error("a part is taken for the whole")
		}
	})
}
