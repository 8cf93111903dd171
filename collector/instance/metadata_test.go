package instance_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/instance"
	"ack-exporter/internal/hostfs"
	"ack-exporter/internal/metadata"
	"ack-exporter/internal/metadata/metadatatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sysfs is that of a machine of this vendor and product.
func sysfs(t *testing.T, vendor, product string) hostfs.Sysfs {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "class/dmi/id")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"sys_vendor": vendor, "product_name": product} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hostfs.Sysfs(root)
}

func newCollector(t *testing.T, config instance.MetadataConfig, client metadata.Config) *instance.Metadata {
	t.Helper()
	var err error
	if config.Client, err = metadata.New(client); err != nil {
		t.Fatal(err)
	}
	c, err := instance.NewMetadata(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for file, notice := range map[string]string{"quiet.txt": "", "notice.txt": "2030-01-05T18:02:00Z"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			s := metadatatest.New()
			if notice != "" {
				s.Set(metadatatest.Notice, notice)
			}
			server := httptest.NewServer(s)
			defer server.Close()
			c := newCollector(t, instance.MetadataConfig{Anywhere: true}, metadata.Config{Endpoint: server.URL})
			got, err := collectortest.Collect(t, c)
			if err != nil {
				t.Fatal(err)
			}
			collectortest.Golden(t, file, got)
		})
	}
}

// TestOnlyOnECS: elsewhere not one packet is sent.
func TestOnlyOnECS(t *testing.T) {
	t.Parallel()
	never := func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("dials %s %s", network, address)
		return nil, net.ErrClosed
	}
	for name, host := range map[string]hostfs.Sysfs{
		"another cloud":      sysfs(t, "Amazon EC2", "m5.large"),
		"another product":    sysfs(t, "Alibaba Cloud", "Alibaba Cloud"),
		"no firmware tables": hostfs.Sysfs(t.TempDir()),
	} {
		c := newCollector(t, instance.MetadataConfig{Sysfs: host}, metadata.Config{Endpoint: metadata.DefaultEndpoint, Dial: never})
		if got, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrNotApplicable) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	unreadable := sysfs(t, strings.Repeat("x", 3<<20), "")
	c := newCollector(t, instance.MetadataConfig{Sysfs: unreadable}, metadata.Config{Endpoint: metadata.DefaultEndpoint, Dial: never})
	if got, err := collectortest.Collect(t, c); errors.Is(err, collector.ErrNotApplicable) || err == nil || got != "" {
		t.Errorf("unreadable: %v\n%s", err, got)
	}

	var dialled atomic.Int32
	dial := metadatatest.Dial(t, metadatatest.New())
	c = newCollector(t, instance.MetadataConfig{Sysfs: sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS")}, metadata.Config{
		Endpoint: metadata.DefaultEndpoint,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			return dial(ctx, network, address)
		},
	})
	got, err := collectortest.Collect(t, c)
	if err != nil || !strings.Contains(got, "\nack_spot_interruption_notice 0\n") || dialled.Load() == 0 {
		t.Errorf("ECS: %v\n%s", err, got)
	}
}

func TestNoClient(t *testing.T) {
	t.Parallel()
	if _, err := instance.NewMetadata(instance.MetadataConfig{}); err == nil {
		t.Error("no error")
	}
}

// TestNotBelieved: a service that is not sure who it is says nothing.
func TestNotBelieved(t *testing.T) {
	t.Parallel()
	s := metadatatest.New()
	s.Remove("instance-id")
	c := newCollector(t, instance.MetadataConfig{Anywhere: true}, metadata.Config{Endpoint: "http://metadata.test", Dial: metadatatest.Dial(t, s)})
	if got, err := collectortest.Collect(t, c); collector.ReasonOf(err) != collector.ReasonUnavailable || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}

// stage is a service that can hang, and what collects from it, at a time that is
// the test's.
type stage struct {
	*metadatatest.Service
	*instance.Metadata
	hangs atomic.Bool
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Service: metadatatest.New()}
	dial := metadatatest.Dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hangs.Load() {
			<-r.Context().Done()
			return
		}
		s.ServeHTTP(w, r)
	}))
	s.Metadata = newCollector(t, instance.MetadataConfig{Anywhere: true}, metadata.Config{Endpoint: "http://metadata.test", Dial: dial})
	return s
}

// after waits, and compares the values of a refresh that has less time than the
// requests of a poll together.
func (s *stage) after(t *testing.T, d time.Duration, want string, reason collector.Reason) {
	t.Helper()
	timer := time.NewTimer(d)
	<-timer.C
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	metrics, err := s.Collect(ctx)
	if ctx.Err() != nil {
		t.Error("not in time")
	}
	var got collector.Reason
	if err != nil {
		got = collector.ReasonOf(err)
	}
	var values []string
	for line := range strings.Lines(collectortest.Exposition(t, told{s.Families(), metrics})) {
		if !strings.HasPrefix(line, "#") {
			values = append(values, strings.TrimSpace(line))
		}
	}
	if strings.Join(values, "\n") != want || got != reason {
		t.Errorf("after %s: %v\n%s\nwant reason %q\n%s", d, err, strings.Join(values, "\n"), reason, want)
	}
}

type told struct {
	families []*collector.Family
	metrics  []prometheus.Metric
}

func (m told) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range m.families {
		f.Describe(ch)
	}
}

func (m told) Collect(ch chan<- prometheus.Metric) {
	for _, metric := range m.metrics {
		ch <- metric
	}
}

const (
	info  = `ack_instance_metadata_info{instance_id="i-bp1aaaa",instance_type="ecs.g6e.large",region="cn-hangzhou",zone="cn-hangzhou-i"} 1`
	quiet = info + "\nack_spot_interruption_notice 0"
)

// noticed is what is told with a notice that the bubble's clock, which begins with
// the year 2000, reaches after 10 minutes.
const (
	termination = "2000-01-01T00:10:00Z"
	noticed     = info + "\nack_spot_interruption_notice 1\nack_spot_termination_timestamp_seconds 9.466854e+08"
)

func TestNoticeOutlivesTheService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.after(t, 4*time.Minute, quiet, "")
		s.hangs.Store(true)
		s.after(t, 10*time.Second, "", collector.ReasonTimeout)
		s.hangs.Store(false)
		s.Set(metadatatest.Notice, termination)
		s.after(t, time.Minute, noticed, "")
		s.hangs.Store(true)
		s.after(t, 10*time.Second, noticed, collector.ReasonTimeout)
		s.after(t, 4*time.Minute, noticed, collector.ReasonTimeout)
		s.after(t, time.Minute, "", collector.ReasonTimeout)
		s.hangs.Store(false)
		s.Remove(metadatatest.Notice)
		s.after(t, 10*time.Second, quiet, "")
	})
}

// TestNoticeOutlivesOtherAnswers: neither what is not understood nor a service that
// does not know itself takes it back; one that is sure does.
func TestNoticeOutlivesOtherAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.Set(metadatatest.Notice, termination)
		s.after(t, 5*time.Minute, noticed, "")
		s.Set(metadatatest.Notice, "soon")
		s.after(t, 10*time.Second, noticed, collector.ReasonDecode)
		s.Remove(metadatatest.Notice)
		s.Remove("instance-id")
		s.after(t, 10*time.Second, noticed, collector.ReasonUnavailable)
		s.Set("instance-id", "i-bp1aaaa")
		s.after(t, 10*time.Second, quiet, "")
		s.hangs.Store(true)
		s.after(t, 10*time.Second, "", collector.ReasonTimeout)
	})
}

// TestNoticeThatIsLate: a time that has passed by our clock is told as long as the
// service says it, and not for ever.
func TestNoticeThatIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.Set(metadatatest.Notice, termination)
		s.after(t, 5*time.Minute, noticed, "")
		s.after(t, 19*time.Minute, noticed, "")
		s.after(t, 2*time.Minute, quiet, "")
	})
}

// TestFrame: the frame goes on showing a notice as well, and drops it after its time.
func TestFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		set, err := collector.NewSet(slog.New(slog.DiscardHandler), collector.Spec{
			Name: "instance", Collector: s.Metadata, Interval: 10 * time.Second, Timeout: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			set.Run(ctx)
		}()
		shows := func(after time.Duration, want bool) {
			t.Helper()
			timer := time.NewTimer(after)
			<-timer.C
			text := collectortest.Exposition(t, set)
			if got := strings.Contains(text, "\nack_spot_interruption_notice 1\n"); got != want {
				t.Errorf("after %s: %v\n%s", after, got, text)
			}
		}
		s.Set(metadatatest.Notice, termination)
		shows(5*time.Minute, true)
		s.hangs.Store(true)
		shows(4*time.Minute, true)
		shows(59*time.Second, true)
		shows(time.Minute, false)
		cancel()
		<-done
	})
}
