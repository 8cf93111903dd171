//go:build e2e

package cloud

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ErrMissing says that a table has no such row.
var ErrMissing = errors.New("there is no such row")

// row is something of which an account has many.
type row[T any] interface {
	// key identifies the row in its table.
	key() string
	// copied shares nothing with the row.
	copied() T
	// complete fills in what an empty field stands for.
	complete() T
}

// Table holds the rows of one kind. What it returns and what it is given are copies.
type Table[T row[T]] struct {
	mu   *sync.Mutex
	rows map[string]T
}

func newTable[T row[T]](mu *sync.Mutex) *Table[T] { return &Table[T]{mu: mu, rows: make(map[string]T)} }

// Set adds rows, or replaces those with the same key. Empty fields get the values
// that the type says.
func (t *Table[T]) Set(rows ...T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(rows...)
}

func (t *Table[T]) set(rows ...T) {
	for _, r := range rows {
		r = r.copied().complete()
		t.rows[r.key()] = r
	}
}

// Get returns a row.
func (t *Table[T]) Get(key string) (T, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.rows[key]
	return r.copied(), ok
}

// Change changes a row in place, also to what Set would fill in otherwise: a field can
// be made empty. change must not use the Cloud. The error is ErrMissing.
func (t *Table[T]) Change(key string, change func(*T)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.rows[key]
	if !ok {
		return fmt.Errorf("%s: %w", key, ErrMissing)
	}
	r = r.copied()
	change(&r)
	delete(t.rows, key)
	r = r.copied()
	t.rows[r.key()] = r
	return nil
}

// Remove removes rows. Those that there are not are no error.
func (t *Table[T]) Remove(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		delete(t.rows, key)
	}
}

// All returns all rows, sorted by their keys.
func (t *Table[T]) All() []T {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := t.sorted(func(T) bool { return true })
	for i := range rows {
		rows[i] = rows[i].copied()
	}
	return rows
}

// sorted are the rows for which keep is true, sorted by their keys. They are not copies.
func (t *Table[T]) sorted(keep func(T) bool) []T {
	kept := []T{}
	for _, key := range sortedKeys(t.rows) {
		if keep(t.rows[key]) {
			kept = append(kept, t.rows[key])
		}
	}
	return kept
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// or puts a value where there is none.
func or[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}
