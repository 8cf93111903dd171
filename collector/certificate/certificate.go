// Package certificate tells when X.509 certificates expire, what they are, and
// what is wrong with them, wherever they lie: in files of a node, in kubeconfigs,
// in Secrets, in caBundles, and at TLS endpoints. Each place is read by a collector
// of its own; what they say has the same shape.
//
// An Entry is what was found at one location. Everything about it is computed when
// it is read, so that a scrape only copies.
package certificate

import (
	"time"

	"ack-exporter/collector"
)

// Source is where certificates lie.
type Source string

// Every source that there is. The location of each is
const (
	SourceFile         Source = "file"       // the path on the host
	SourceKubeconfig   Source = "kubeconfig" // the path on the host
	SourceSecret       Source = "secret"     // namespace/name
	SourceIngress      Source = "ingress"    // namespace/name
	SourceWebhook      Source = "webhook"    // kind/name of the webhook configuration
	SourceAPIService   Source = "apiservice" // its name
	SourceCRD          Source = "crd"        // its name
	SourceEndpoint     Source = "endpoint"   // host:port
	SourceBackend      Source = "backend"    // host:port at which the API server calls a webhook or an API service
	SourceLoadBalancer Source = "slb"        // the id of the load balancer and the port of the listener
)

// Role is what a certificate may do.
type Role string

// The roles.
const (
	RoleLeaf Role = "leaf"
	RoleCA   Role = "ca"
)

// Class says who renews a certificate, and so when to worry.
type Class string

// The classes.
const (
	// ClassManual: a person renews it.
	ClassManual Class = "manual"
	// ClassAutomatic: it renews itself; that it has not in time is the trouble.
	ClassAutomatic Class = "automatic"
	// ClassHarmless: the manual says that nothing depends on it.
	ClassHarmless Class = "harmless"
)

// Reason is why something that should hold a certificate could not be read.
type Reason string

// The reasons.
const (
	ReasonEmpty         Reason = "empty"          // nothing is there
	ReasonTooLarge      Reason = "too_large"      // more than is read
	ReasonTooMany       Reason = "too_many"       // more certificates at one location than are read
	ReasonNoCertificate Reason = "no_certificate" // well-formed, and something else
	ReasonPEM           Reason = "pem"            // a PEM block that is broken
	ReasonDER           Reason = "der"            // not a certificate inside
	ReasonKey           Reason = "key"            // a private key that cannot be understood
	ReasonKubeconfig    Reason = "kubeconfig"     // not a kubeconfig
	ReasonPermission    Reason = "permission"
	ReasonVanished      Reason = "vanished"    // listed, and gone when it was read; or a dangling link or name
	ReasonNotRegular    Reason = "not_regular" // a FIFO, a socket or a device
	ReasonLoop          Reason = "loop"        // symbolic links in a circle
	ReasonRead          Reason = "read"        // every other error of the file system
	ReasonUnreachable   Reason = "unreachable" // no TCP connection
	ReasonTimeout       Reason = "timeout"
	ReasonTLS           Reason = "tls"     // no TLS handshake
	ReasonUndated       Reason = "undated" // nothing tells when it expires
)

// Problem is what is wrong with a certificate that could be read, besides its dates.
type Problem string

// The problems.
const (
	// ProblemKeyMismatch: the private key beside it is that of another certificate.
	ProblemKeyMismatch Problem = "key_mismatch"
	// ProblemIssuerExpiresFirst: the certificate outlives one that it needs.
	ProblemIssuerExpiresFirst Problem = "issuer_expires_first"
	// ProblemUntrusted: it is not issued by whom its clients are told to trust.
	ProblemUntrusted Problem = "untrusted"
	// ProblemNameMissing: it does not cover a name by which clients call.
	ProblemNameMissing Problem = "name_missing"
)

// Certificate is what is told of one certificate.
type Certificate struct {
	// Key tells several places at one location apart: the key of a Secret, the path
	// of a field in a kubeconfig, the name of a webhook. Empty where there is one.
	Key string
	// Subject and Issuer are common names, else the first other name, else the whole
	// distinguished name; at most maxName bytes.
	Subject, Issuer string
	// Serial is the serial number in lower-case hexadecimal digits.
	Serial string
	// NotBefore is zero where only the end is known, as at a load balancer. Issuer and
	// Serial are empty there.
	NotBefore, NotAfter time.Time
	Role                Role
	Class               Class
}

// Failure is something at a location that could not be read.
type Failure struct {
	Key    string
	Reason Reason
}

// Flaw is something wrong with a certificate that could be read.
type Flaw struct {
	Key     string
	Problem Problem
}

// Entry is what was found at one location.
type Entry struct {
	Source       Source
	Location     string
	Certificates []Certificate
	Failures     []Failure
	Flaws        []Flaw
}

var (
	familyNotAfter = collector.NewGauge("ack_certificate_not_after_timestamp_seconds",
		"When the certificate expires, in Unix time.",
		"source", "location", "key", "subject", "serial")
	familyNotBefore = collector.NewGauge("ack_certificate_not_before_timestamp_seconds",
		"When the certificate becomes valid, in Unix time. Absent at load balancers, whose API does not tell.",
		"source", "location", "key", "subject", "serial")
	familyInfo = collector.NewGauge("ack_certificate_info",
		"What the certificate is. role: leaf, or ca where it can issue others. class: manual, automatic where it renews itself, harmless where the manual says that its expiry breaks nothing.",
		"source", "location", "key", "subject", "serial", "issuer", "role", "class")
	familyErrors = collector.NewGauge("ack_certificate_errors",
		"1 where something that should hold a certificate cannot be read, by reason. Absent where everything can.",
		"source", "location", "key", "reason")
	familyProblem = collector.NewGauge("ack_certificate_problem",
		"1 where a certificate is wrong in another way than by its dates. key_mismatch: the private key beside it is that of another certificate. issuer_expires_first: it outlives a certificate that it needs. untrusted: its clients are told to trust another issuer. name_missing: it does not cover a name by which clients call: that of the key, or that of the Service behind the webhook of the key.",
		"source", "location", "key", "problem")
	familyLocations = collector.NewGauge("ack_certificate_locations",
		"Locations at which at least one certificate was read.",
		"source")
)

// families are those of every collector of this package.
func families() []*collector.Family {
	return []*collector.Family{
		familyNotAfter, familyNotBefore, familyInfo, familyErrors, familyProblem, familyLocations,
	}
}
