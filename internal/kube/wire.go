package kube

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"ack-exporter/collector"
)

const (
	// MaxObject bounds an object in its binary encoding. etcd takes no more than 1.5 MiB
	// unless it is told otherwise.
	MaxObject = 2 << 20
	// maxSkipped bounds an object that is too large and only skipped.
	maxSkipped = 64 << 20
	// headOfLarge is what is read of an object that is too large. Its name is in the
	// first 600 bytes.
	headOfLarge = 4 << 10
	// firstBuffer holds a Secret with a chain of certificates.
	firstBuffer = 16 << 10
	// maxListHead bounds what a list says about itself.
	maxListHead = 64 << 10
)

// magic begins what the API server encodes in its binary format; the message
// runtime.Unknown follows.
const magic = "k8s\x00"

// Fields of the messages of Kubernetes, as their generated.proto files number them.
const (
	unknownRaw = 2

	listMetadata, listItems = 1, 2
	listVersion             = 2
	listContinue            = 3

	objectMetadata   = 1
	metaName         = 1
	metaNamespace    = 3
	metaUID          = 5
	metaVersion      = 6
	metaAnnotations  = 12
	mapKey, mapValue = 1, 2

	eventType, eventObject = 1, 2
	extensionRaw           = 1
)

var errWire = fmt.Errorf("%w: not an answer in the binary format of Kubernetes", collector.ErrDecode)

// Fields calls field for each string, byte string and message in an encoded message;
// numbers are left out. The values are parts of message. Where message is cut off,
// the last value is what there is of it, and the result is io.ErrUnexpectedEOF.
func Fields(message []byte, field func(number int, value []byte)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return wireError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return wireError(n)
			}
			message = message[n:]
			continue
		}
		length, n := protowire.ConsumeVarint(message)
		if n < 0 {
			return wireError(n)
		}
		message = message[n:]
		if length > uint64(len(message)) {
			field(int(number), message)
			return io.ErrUnexpectedEOF
		}
		field(int(number), message[:length])
		message = message[length:]
	}
	return nil
}

func wireError(n int) error {
	if err := protowire.ParseError(n); errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return errWire
}

// MapEntry takes an entry of a map apart.
func MapEntry(entry []byte) (key string, value []byte, err error) {
	err = Fields(entry, func(number int, v []byte) {
		switch number {
		case mapKey:
			key = string(v)
		case mapValue:
			value = v
		}
	})
	return key, value, err
}

// Object is an object of the API as it came.
type Object struct {
	Namespace, Name string
	// Bytes are its message, such as core.v1.Secret. They are cleared once whoever got
	// them returns. Where they are nil, there are more than MaxObject of them.
	Bytes []byte

	// state is another one when the object is.
	state    string
	version  string
	metadata []byte
}

// newObject reads the metadata of an object, of which there may be only the
// beginning.
func newObject(message []byte, whole bool) (Object, error) {
	var o Object
	err := Fields(message, func(number int, value []byte) {
		if number == objectMetadata {
			o.metadata = value
		}
	})
	if err != nil && whole {
		return Object{}, errWire
	}
	var uid []byte
	err = Fields(o.metadata, func(number int, value []byte) {
		switch number {
		case metaName:
			o.Name = string(value)
		case metaNamespace:
			o.Namespace = string(value)
		case metaUID:
			uid = value
		case metaVersion:
			o.version = string(value)
		}
	})
	if err != nil && whole {
		return Object{}, errWire
	}
	if whole {
		o.Bytes = message
	}
	o.state = string(uid) + "/" + o.version
	return o, nil
}

// key is where the object is among those of its kind.
func (o Object) key() (string, error) {
	if o.Name == "" || !utf8.ValidString(o.Name) || !utf8.ValidString(o.Namespace) {
		return "", fmt.Errorf("%w: an object without a name", errWire)
	}
	return o.Namespace + "/" + o.Name, nil
}

// HasAnnotation tells whether the object has an annotation of this name.
func (o Object) HasAnnotation(name string) bool {
	found := false
	_ = Fields(o.metadata, func(number int, entry []byte) {
		if number != metaAnnotations {
			return
		}
		_ = Fields(entry, func(number int, key []byte) {
			found = found || number == mapKey && string(key) == name
		})
	})
	return found
}

// scratch is the one buffer through which all objects pass. Whoever has looked at
// one of them clears it.
type scratch struct {
	buffer []byte
	used   int
}

// clear forgets what has been read.
func (s *scratch) clear() {
	clear(s.buffer[:s.used])
	s.used = 0
}

// grow makes room for size bytes. What has been read stays.
func (s *scratch) grow(size int) {
	if size <= len(s.buffer) {
		return
	}
	larger := make([]byte, min(max(size, 2*len(s.buffer), firstBuffer), MaxObject))
	n := copy(larger, s.buffer[:s.used])
	s.clear()
	s.buffer, s.used = larger, n
}

// object reads an object of this size, or where that is too much its beginning.
func (s *scratch) object(r io.Reader, size uint64) (message []byte, whole bool, err error) {
	if size > maxSkipped {
		return nil, false, fmt.Errorf("%w: an object of %d bytes", errWire, size)
	}
	if size <= MaxObject {
		s.grow(int(size))
		s.used = int(size)
		_, err = io.ReadFull(r, s.buffer[:size])
		return s.buffer[:size], true, midway(err)
	}
	s.grow(firstBuffer)
	s.used = len(s.buffer)
	if _, err = io.ReadFull(r, s.buffer[:headOfLarge]); err != nil {
		return nil, false, midway(err)
	}
	for left := size - headOfLarge; left > 0; {
		n, err := io.ReadFull(r, s.buffer[headOfLarge:][:min(left, uint64(len(s.buffer)-headOfLarge))])
		if err != nil {
			return nil, false, midway(err)
		}
		left -= uint64(n)
	}
	return s.buffer[:headOfLarge], false, nil
}

// frame reads the next frame of a watch from a framer of Kubernetes, or where that
// is too large its beginning. The error is io.EOF at the end.
func (s *scratch) frame(frames io.Reader) (frame []byte, whole bool, err error) {
	s.grow(firstBuffer)
	for {
		n, err := frames.Read(s.buffer[s.used:])
		s.used += n
		switch {
		case err == nil:
			return s.buffer[:s.used], true, nil
		case !errors.Is(err, io.ErrShortBuffer):
			if s.used > 0 {
				err = midway(err)
			}
			return nil, false, err
		case s.used == MaxObject:
			return s.buffer[:headOfLarge], false, s.skip(frames)
		}
		s.grow(s.used + 1)
	}
}

// skip reads the rest of a frame that is too large.
func (s *scratch) skip(frames io.Reader) error {
	for skipped := s.used; skipped <= maxSkipped; {
		n, err := frames.Read(s.buffer[headOfLarge:])
		skipped += n
		if err == nil {
			return nil
		}
		if !errors.Is(err, io.ErrShortBuffer) {
			return midway(err)
		}
	}
	return fmt.Errorf("%w: a frame of more than %d bytes", errWire, maxSkipped)
}

// midway is the error of a reader that should not end here.
func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// message reads the fields of an encoded message from a stream.
type message struct {
	r    io.Reader
	left uint64
	one  [1]byte
}

// Read implements io.Reader: it ends where the message does.
func (m *message) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	n, err := m.r.Read(p[:min(uint64(len(p)), m.left)])
	m.left -= uint64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (m *message) ReadByte() (byte, error) {
	_, err := io.ReadFull(m, m.one[:])
	return m.one[0], err
}

// next finds the next string, byte string or message. The error is io.EOF at the
// end of the stream; only the caller knows whether it may end there.
func (m *message) next() (number protowire.Number, length uint64, err error) {
	for {
		tag, err := binary.ReadUvarint(m)
		if err != nil {
			return 0, 0, err
		}
		number, kind := protowire.DecodeTag(tag)
		if number < protowire.MinValidNumber {
			return 0, 0, errWire
		}
		switch kind {
		case protowire.BytesType:
			length, err := binary.ReadUvarint(m)
			if err == nil && length > m.left {
				err = errWire
			}
			return number, length, midway(err)
		case protowire.VarintType:
			_, err = binary.ReadUvarint(m)
		case protowire.Fixed32Type:
			err = m.skip(4)
		case protowire.Fixed64Type:
			err = m.skip(8)
		default:
			err = errWire
		}
		if err != nil {
			return 0, 0, midway(err)
		}
	}
}

// skip passes over what nobody needs, and which is no part of an object.
func (m *message) skip(n uint64) error {
	for ; n > 0; n-- {
		if _, err := m.ReadByte(); err != nil {
			return midway(err)
		}
	}
	return nil
}

// short reads a field of no more than maxListHead bytes.
func (m *message) short(length uint64) ([]byte, error) {
	if length > maxListHead {
		return nil, errWire
	}
	b := make([]byte, length)
	_, err := io.ReadFull(m, b)
	return b, midway(err)
}

// page is what one answer says about itself.
type page struct {
	version string
	// next is the token by which the next page is asked for; empty on the last one.
	next string
}

// readList reads the answer to a list, and calls item for one object after another.
func readList(r io.Reader, s *scratch, item func(Object) error) (page, error) {
	var head [len(magic)]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return page{}, midway(err)
	}
	if string(head[:]) != magic {
		return page{}, errWire
	}
	envelope := &message{r: r, left: math.MaxInt64}
	var p page
	for found := false; ; {
		number, length, err := envelope.next()
		switch {
		case errors.Is(err, io.EOF) && found:
			return p, nil
		case err != nil:
			return page{}, midway(err)
		case number != unknownRaw:
			_, err = envelope.short(length)
		case found:
			err = errWire
		default:
			found = true
			p, err = readItems(&message{r: envelope, left: length}, s, item)
		}
		if err != nil {
			return page{}, err
		}
	}
}

func readItems(list *message, s *scratch, item func(Object) error) (p page, err error) {
	for list.left > 0 {
		number, length, err := list.next()
		if err != nil {
			return page{}, midway(err)
		}
		switch number {
		case listItems:
			err = readItem(list, length, s, item)
		case listMetadata:
			p, err = readPage(list, length)
		default:
			_, err = list.short(length)
		}
		if err != nil {
			return page{}, err
		}
	}
	if p.version == "" {
		return page{}, fmt.Errorf("%w: a list without a resource version", errWire)
	}
	return p, nil
}

func readPage(list *message, length uint64) (page, error) {
	b, err := list.short(length)
	if err != nil {
		return page{}, err
	}
	var p page
	err = Fields(b, func(number int, value []byte) {
		switch number {
		case listVersion:
			p.version = string(value)
		case listContinue:
			p.next = string(value)
		}
	})
	if err != nil {
		return page{}, errWire
	}
	return p, nil
}

func readItem(list *message, length uint64, s *scratch, item func(Object) error) error {
	defer s.clear()
	message, whole, err := s.object(list, length)
	if err != nil {
		return err
	}
	o, err := newObject(message, whole)
	if err != nil {
		return err
	}
	return item(o)
}

// event is a change of an object.
type event struct {
	kind   watch.EventType
	object Object
	// status is what an event of the kind Error is about.
	status *metav1.Status
}

// newEvent reads a frame of a watch, of which there may be only the beginning.
func newEvent(frame []byte, whole bool) (event, error) {
	var e event
	var extension, enveloped, message []byte
	tolerate := func(err error) bool { return err == nil || !whole && errors.Is(err, io.ErrUnexpectedEOF) }
	ok := tolerate(Fields(frame, func(number int, value []byte) {
		switch number {
		case eventType:
			e.kind = watch.EventType(value)
		case eventObject:
			extension = value
		}
	}))
	ok = ok && tolerate(Fields(extension, func(number int, value []byte) {
		if number == extensionRaw {
			enveloped = value
		}
	}))
	unknown, found := bytes.CutPrefix(enveloped, []byte(magic))
	ok = ok && found && tolerate(Fields(unknown, func(number int, value []byte) {
		if number == unknownRaw {
			message = value
		}
	}))
	if !ok {
		return event{}, errWire
	}
	if e.kind == watch.Error {
		e.status = &metav1.Status{}
		if !whole || e.status.Unmarshal(message) != nil {
			return event{}, errWire
		}
		return e, nil
	}
	var err error
	e.object, err = newObject(message, whole)
	return e, err
}
