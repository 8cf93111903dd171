package coredns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"

	"ack-exporter/collector"
)

// Check is a way to ask a replica.
type Check string

// Every check that there is.
const (
	CheckHealth  Check = "health"
	CheckReady   Check = "ready"
	CheckDNSUDP  Check = "dns_udp"
	CheckDNSTCP  Check = "dns_tcp"
	CheckMetrics Check = "metrics"
)

const (
	dnsPort     = 53
	healthPort  = 8080
	readyPort   = 8181
	metricsPort = 9153

	// maxAsked is how many replicas are asked at most: twice what ACK recommends for
	// the largest cluster.
	maxAsked = 2 * maxReplicas
	// maxHeader bounds the header of an answer over HTTP, in bytes.
	maxHeader = 16 << 10
	// maxDatagram is more than a server may send to one that has not offered more.
	maxDatagram = 4096
)

// ProberConfig says how replicas are asked.
type ProberConfig struct {
	// Dial connects to a replica; nil is the network of this process.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout of one question.
	Timeout time.Duration
	// Concurrency is how many questions are under way at once.
	Concurrency int
	// Name is asked for over DNS. Every CoreDNS of the cluster should know it.
	Name string
	// Log gets a line of level debug for every question without a good answer.
	Log *slog.Logger
}

// Prober asks replicas directly, by the address of the pod.
type Prober struct {
	config   ProberConfig
	question string
	client   *http.Client
}

// NewProber makes a Prober.
func NewProber(config ProberConfig) (*Prober, error) {
	switch {
	case config.Timeout <= 0:
		return nil, fmt.Errorf("the timeout: %s is not positive", config.Timeout)
	case config.Concurrency < 1:
		return nil, fmt.Errorf("questions at once: %d is less than 1", config.Concurrency)
	case config.Log == nil:
		return nil, errors.New("no logger")
	}
	question := dns.Fqdn(config.Name)
	if _, ok := dns.IsDomainName(question); !ok || question == "." {
		return nil, fmt.Errorf("%.300q is not a name of the DNS", config.Name)
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return &Prober{config: config, question: question, client: &http.Client{
		Transport: &http.Transport{
			DialContext: config.Dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Reply is what one replica said.
type Reply struct {
	// Up tells by which checks it answers well. A check that was not carried out is
	// missing.
	Up map[Check]bool
	// Facts are from its metrics; nil where they could not be read.
	Facts *Facts
}

// job is one question to one replica, and its outcome.
type job struct {
	replica int
	check   Check
	err     error
	facts   *Facts
	// asked is false where there was no time left to ask.
	asked bool
}

func checks() []Check {
	return []Check{CheckHealth, CheckReady, CheckDNSUDP, CheckDNSTCP, CheckMetrics}
}

// Ask asks all replicas that can be asked, and puts their replies into them. None of
// them waits for another one for long. It fails where ctx leaves no time for all.
func (p *Prober) Ask(ctx context.Context, replicas []Replica) error {
	var jobs []job
	asked := 0
	for i, r := range replicas {
		if r.Address == "" || asked == maxAsked {
			continue
		}
		asked++
		for _, check := range checks() {
			jobs = append(jobs, job{replica: i, check: check})
		}
	}
	p.run(ctx, jobs, replicas)
	left := 0
	for _, j := range jobs {
		if !j.asked {
			left++
			continue
		}
		reply := &replicas[j.replica].Asked
		if reply.Up == nil {
			reply.Up = make(map[Check]bool, len(checks()))
		}
		reply.Up[j.check] = j.err == nil
		reply.Facts = cmp.Or(reply.Facts, j.facts)
	}
	if left > 0 {
		return fmt.Errorf("no time for %d of %d questions to replicas: %w", left, len(jobs), cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	return nil
}

func (p *Prober) run(ctx context.Context, jobs []job, replicas []Replica) {
	next := make(chan *job)
	var workers sync.WaitGroup
	for range min(p.config.Concurrency, len(jobs)) {
		workers.Go(func() {
			for j := range next {
				p.do(ctx, j, replicas[j.replica])
			}
		})
	}
	for i := range jobs {
		next <- &jobs[i]
	}
	close(next)
	workers.Wait()
}

// do puts one question, if there is time to wait for its answer. One that is cut
// short would tell nothing about the replica.
func (p *Prober) do(ctx context.Context, j *job, r Replica) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < p.config.Timeout {
		return
	}
	askCtx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	j.facts, j.err = p.contained(askCtx, j.check, r.Address)
	j.asked = j.err == nil || ctx.Err() == nil
	if j.asked && j.err != nil {
		p.config.Log.Debug("CoreDNS does not answer well",
			"pod", r.Pod, "node", r.Node, "address", r.Address, "check", string(j.check), "err", j.err)
	}
}

// contained turns a panic into an error: what replicas say goes through parsers that
// are not ours, and here nobody else would catch it.
func (p *Prober) contained(ctx context.Context, check Check, address string) (f *Facts, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return p.ask(ctx, check, address)
}

func (p *Prober) ask(ctx context.Context, check Check, address string) (*Facts, error) {
	switch check {
	case CheckHealth:
		return nil, p.get(ctx, address, healthPort, "/health", drop)
	case CheckReady:
		return nil, p.get(ctx, address, readyPort, "/ready", drop)
	case CheckDNSUDP:
		return nil, p.resolve(ctx, "udp", address)
	case CheckDNSTCP:
		return nil, p.resolve(ctx, "tcp", address)
	default:
		var facts *Facts
		err := p.get(ctx, address, metricsPort, "/metrics", func(body io.Reader) (err error) {
			facts, err = readFacts(body)
			return err
		})
		return facts, err
	}
}

func drop(io.Reader) error { return nil }

// get asks over HTTP. Only the status 200 is a good answer.
func (p *Prober) get(ctx context.Context, address string, port int, path string, read func(io.Reader) error) error {
	url := "http://" + net.JoinHostPort(address, strconv.Itoa(port)) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %w", response.StatusCode, collector.ErrUnavailable)
	}
	return read(response.Body)
}

// resolve asks for the address of the name. That there is none is an answer too:
// whether it is the right one is for other probes to tell.
func (p *Prober) resolve(ctx context.Context, network, address string) error {
	conn, err := p.config.Dial(ctx, network, net.JoinHostPort(address, strconv.Itoa(dnsPort)))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	question := new(dns.Msg).SetQuestion(p.question, dns.TypeA)
	client := dns.Client{Net: network, Timeout: p.config.Timeout, UDPSize: maxDatagram}
	answer, _, err := client.ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: conn})
	switch {
	case err != nil:
		return err
	case !answer.Response || len(answer.Question) != 1 || answer.Question[0] != question.Question[0]:
		return fmt.Errorf("no answer to the question: %w", collector.ErrDecode)
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		return fmt.Errorf("%s: %w", dns.RcodeToString[answer.Rcode], collector.ErrUnavailable)
	}
	return nil
}
