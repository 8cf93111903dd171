package coredns

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/coredns/corefile"
)

// reading is what came of the text of a Corefile.
type reading struct {
	text string
	file *corefile.File
	err  error
}

// readCorefile reads the Corefile of the ConfigMap, unless it is the same as before.
func (c *Collector) readCorefile(configMaps []*corev1.ConfigMap) (*corefile.File, error) {
	if len(configMaps) == 0 {
		return nil, fmt.Errorf("ConfigMap %s/%s does not exist: %w", namespace, configMapName, collector.ErrUnavailable)
	}
	text, ok := configMaps[0].Data[corefileKey]
	if !ok {
		return nil, fmt.Errorf("ConfigMap %s/%s: no key %s: %w", namespace, configMapName, corefileKey, collector.ErrDecode)
	}
	if c.last == nil || c.last.text != text {
		c.last = &reading{text: text}
		c.last.file, c.last.err = corefile.Parse(text)
	}
	if c.last.err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w: %w", namespace, configMapName, c.last.err, collector.ErrDecode)
	}
	return c.last.file, nil
}

// identify tells the release of every replica.
func (s *Snapshot) identify() {
	for i := range s.Replicas {
		r := &s.Replicas[i]
		if r.Asked.Facts != nil {
			r.Version = version(r.Asked.Facts.Version)
		}
		if r.Version == "" {
			r.Version = version(tag(r.Image))
		}
	}
}

// assessCorefile judges the Corefile, and compares it with what the replicas say that
// they have loaded. err is why there is none.
func (s *Snapshot) assessCorefile(file *corefile.File, err error) {
	s.countVersions()
	if errors.Is(err, corefile.ErrSyntax) {
		s.Checks = map[string]bool{corefile.CheckParse: false}
	}
	if err != nil {
		return
	}
	s.Checks = file.Checks(s.isLegacy())
	if lameduck, known := file.Lameduck(); known {
		s.Lameduck = &lameduck
	}
	sums := make(map[string]string)
	for _, r := range s.Replicas {
		if sum := r.loaded(); sum != nil && sums[sum.Algorithm] == "" {
			sums[sum.Algorithm], _ = file.Sum(sum.Algorithm)
		}
	}
	for i := range s.Replicas {
		r := &s.Replicas[i]
		if sum := r.loaded(); sum != nil && sums[sum.Algorithm] != "" {
			r.Loaded = r.hasLoaded(sum.Value == sums[sum.Algorithm])
		}
	}
}

// hasLoaded tells whether the replica has loaded the Corefile. isLast says that it is
// the last one that it took up, but it names that one also where it could not use it
// and goes on with the one before.
func (r Replica) hasLoaded(isLast bool) *bool {
	failures := r.Asked.Facts.ReloadFailures
	if isLast && (failures == nil || *failures > 0) {
		return nil
	}
	return &isLast
}

// loaded is the Corefile that the replica says it took up last; nil where it tells
// none.
func (r Replica) loaded() *Sum {
	if r.Asked.Facts == nil {
		return nil
	}
	return r.Asked.Facts.Loaded
}

// countVersions counts the Corefiles that are loaded. Releases that name them by
// different hashes cannot be compared, and each counts for itself.
func (s *Snapshot) countVersions() {
	most := make(map[string]map[string]bool)
	for _, r := range s.Replicas {
		sum := r.loaded()
		if sum == nil {
			continue
		}
		if most[sum.Algorithm] == nil {
			most[sum.Algorithm] = make(map[string]bool)
		}
		most[sum.Algorithm][sum.Value] = true
	}
	for _, values := range most {
		if s.Versions == nil || len(values) > *s.Versions {
			s.Versions = new(len(values))
		}
	}
}

// isLegacy tells whether a replica runs a release before 1.5.0. While releases are
// mixed, as during an upgrade, the new one counts.
func (s *Snapshot) isLegacy() bool {
	legacy := false
	for _, r := range s.Replicas {
		switch {
		case r.Version == "":
		case !isLegacy(r.Version):
			return false
		default:
			legacy = true
		}
	}
	return legacy
}
