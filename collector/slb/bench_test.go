package slb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

// The largest cluster that there are figures of.
const (
	scaleBalancers = 1000
	scaleGroups    = 20
	scaleServers   = 100
	scaleNodes     = 5000
	scaleRate      = 2 // requests a second
	scaleInterval  = 5 * time.Minute
	scaleCalls     = 400
)

// scaleCloud has load balancers whose answers are made when they are asked for, so that
// it holds next to nothing. Its clock goes on with each call, as the pace of requests has it.
type scaleCloud struct {
	balancers, groups, servers, nodes int
	now                               time.Time
	calls                             int
}

func (c *scaleCloud) Now() time.Time { return c.now }

func (c *scaleCloud) Call(_ context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	c.calls++
	c.now = c.now.Add(time.Second / scaleRate)
	var b bytes.Buffer
	switch action.Name {
	case "DescribeLoadBalancers":
		c.list(&b, parameters["PageNumber"].(int), parameters["PageSize"].(int))
	case "DescribeLoadBalancerListeners":
		ids, first := parameters["LoadBalancerId"].([]string), 0
		if token, _ := parameters["NextToken"].(string); token != "" {
			first, _ = strconv.Atoi(token)
		}
		c.listeners(&b, ids, first, parameters["MaxResults"].(int))
	case "DescribeVServerGroups":
		c.groupList(&b, parameters["LoadBalancerId"].(string))
	case "DescribeVServerGroupAttribute":
		c.backends(&b, parameters["VServerGroupId"].(string))
	case "ListProductQuotas":
		b.WriteString(`{"TotalCount":0,"Quotas":[]}`)
	default:
		return aliyun.Refusal(action, 400, "InvalidAction")
	}
	return json.Unmarshal(b.Bytes(), out)
}

func (c *scaleCloud) list(b *bytes.Buffer, page, size int) {
	fmt.Fprintf(b, `{"TotalCount":%d,"LoadBalancers":{"LoadBalancer":[`, c.balancers)
	for i := (page - 1) * size; i < min(page*size, c.balancers); i++ {
		comma(b, i > (page-1)*size)
		fmt.Fprintf(b, `{"LoadBalancerId":"lb-%04d","LoadBalancerName":"%s","LoadBalancerStatus":"active","AddressType":"internet",`+
			`"Address":"192.0.2.1","VpcId":"vpc-a","LoadBalancerSpec":"slb.s1.small","PayType":"PayOnDemand","DeleteProtection":"on",`+
			`"ModificationProtectionStatus":"ConsoleProtection","Tags":{"Tag":[{"TagKey":"ack.aliyun.com","TagValue":"c1"},`+
			`{"TagKey":"kubernetes.do.not.delete","TagValue":"%[2]s"}]}}`, i, ccm.DefaultName(testService(scaleName(i), "", "").UID))
	}
	b.WriteString(`]}}`)
}

func comma(b *bytes.Buffer, needed bool) {
	if needed {
		b.WriteByte(',')
	}
}

func scaleName(balancer int) string { return fmt.Sprintf("service-%04d", balancer) }

func (c *scaleCloud) listeners(b *bytes.Buffer, ids []string, first, size int) {
	all := len(ids) * c.groups
	last, next := min(first+size, all), ""
	if last < all {
		next = strconv.Itoa(last)
	}
	fmt.Fprintf(b, `{"TotalCount":%d,"NextToken":"%s","Listeners":[`, all, next)
	for n := first; n < last; n++ {
		id, j := ids[n/c.groups], n%c.groups
		comma(b, n > first)
		fmt.Fprintf(b, `{"LoadBalancerId":"%s","ListenerPort":%d,"ListenerProtocol":"tcp","Status":"running","Description":"k8s/%[2]d/%[3]s/shop/c1","VServerGroupId":"rsp-%[4]s-%[5]d"}`,
			id, 80+j, scaleName(number(id)), id, j)
	}
	b.WriteString(`]}`)
}

func number(id string) int {
	n, _ := strconv.Atoi(id[3:7])
	return n
}

func (c *scaleCloud) groupList(b *bytes.Buffer, id string) {
	b.WriteString(`{"VServerGroups":{"VServerGroup":[`)
	for j := range c.groups {
		comma(b, j > 0)
		fmt.Fprintf(b, `{"VServerGroupId":"rsp-%s-%d","VServerGroupName":"k8s/%d/%s/shop/c1"}`, id, j, 30080+j, scaleName(number(id)))
	}
	b.WriteString(`]}}`)
}

// pool is the pool of nodes that are behind a load balancer.
func (c *scaleCloud) pool(balancer int) int { return balancer % (c.nodes / c.servers) }

func (c *scaleCloud) backends(b *bytes.Buffer, group string) {
	id, j, _ := strings.Cut(strings.TrimPrefix(group, "rsp-lb-"), "-")
	balancer, _ := strconv.Atoi(id)
	port, _ := strconv.Atoi(j)
	fmt.Fprintf(b, `{"VServerGroupId":"%s","BackendServers":{"BackendServer":[`, group)
	for n := range c.servers {
		comma(b, n > 0)
		fmt.Fprintf(b, `{"ServerId":"i-%s","ServerIp":"","Type":"ecs","Port":%d,"Weight":100,"Description":"k8s/%[2]d/%[3]s/shop/c1"}`,
			scaleNode(c.pool(balancer)*c.servers+n), 30080+port, scaleName(balancer))
	}
	b.WriteString(`]}}`)
}

func scaleNode(n int) string { return fmt.Sprintf("bp1%017d", n) }

// cluster are the Services and nodes that want just this.
func (c *scaleCloud) cluster() (services list[*corev1.Service], nodes list[*corev1.Node]) {
	for i := range c.balancers {
		var ports []int32
		for j := range c.groups {
			ports = append(ports, int32(80+j))
		}
		s := testService(scaleName(i), fmt.Sprintf("lb-%04d", i), corev1.ServiceExternalTrafficPolicyCluster, ports...)
		s.Annotations = map[string]string{
			"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-backend-label": fmt.Sprintf("pool=p%d", c.pool(i)),
		}
		kube.TrimService(s)
		services = append(services, s)
	}
	for n := range c.nodes {
		node := testNode(scaleNode(n))
		node.Labels = map[string]string{"pool": fmt.Sprintf("p%d", n/c.servers)}
		kube.TrimNode(node)
		nodes = append(nodes, node)
	}
	return services, nodes
}

// until refreshes every interval until everything was read, and tells how long that took.
func (c *scaleCloud) until(t testing.TB, s *inventory.Scanner, wanted inventory.Wanted) (refreshes int, took time.Duration, last inventory.Progress) {
	t.Helper()
	begun := c.now
	for {
		found, progress, err := s.Refresh(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		refreshes++
		if found.Complete() {
			return refreshes, c.now.Sub(begun), progress
		}
		c.now = c.now.Add(scaleInterval)
	}
}

func newScale(balancers, groups int) *scaleCloud {
	return &scaleCloud{
		balancers: balancers, groups: groups, servers: scaleServers, nodes: scaleNodes,
		now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (c *scaleCloud) config(calls int) Config {
	services, nodes := c.cluster()
	return Config{
		API: c, Region: testRegion, ClusterID: "c1", Calls: calls, Interval: scaleInterval, Services: services, Nodes: nodes,
		Endpoints: endpoints{}, Log: slog.New(slog.DiscardHandler), Now: c.Now,
	}
}

// TestCalls proves the figures of docs/cloud-calls.md: what a refresh asks, and how many it takes
// until everything was read. BenchmarkScale does so for the largest.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ balancers, groups int }{{10, 5}, {100, 5}, {100, 20}, {1000, 5}} {
		c := newScale(row.balancers, row.groups)
		c.servers = 1
		s := inventory.NewScanner(inventory.Config{API: c, Calls: scaleCalls, Now: c.Now})
		refreshes, took, progress := c.until(t, s, inventory.Wanted{ClusterID: "c1"})
		if progress.Calls > scaleCalls || refreshes == 1 && progress.Calls != c.calls {
			t.Errorf("%+v: %+v, %d calls", row, progress, c.calls)
		}
		c.requireDocumented(t, refreshes, took)
	}
}

// requireDocumented looks for the line with these figures.
func (c *scaleCloud) requireDocumented(t testing.TB, refreshes int, took time.Duration) {
	t.Helper()
	page, err := os.ReadFile("../../docs/cloud-calls.md")
	if err != nil {
		t.Fatal(err)
	}
	listings := (c.balancers+99)/100 + (c.balancers+9)/10*max((10*c.groups+99)/100, 1)
	inTurns := c.balancers * (1 + c.groups)
	// What is left of the last refresh goes to what is oldest.
	all := refreshes*listings + inTurns
	if c.calls < all || c.calls > max(all, refreshes*scaleCalls) || all <= (refreshes-1)*scaleCalls {
		t.Errorf("%d calls in %d refreshes, not %d", c.calls, refreshes, all)
	}
	took = took.Round(time.Minute)
	line := fmt.Sprintf("| %d | %d | %d | %d | %d | %d h %d min |", c.balancers, c.groups, listings, inTurns, refreshes, took/time.Hour, took%time.Hour/time.Minute)
	if !strings.Contains(string(page), line) {
		t.Errorf("docs/cloud-calls.md has no line %s", line)
	}
}

// BenchmarkScale measures 1,000 load balancers with 20 groups of 100 servers each, in a
// cluster of 5,000 nodes.
func BenchmarkScale(b *testing.B) {
	c := newScale(scaleBalancers, scaleGroups)
	config := c.config(scaleCalls)
	collected, err := New(config)
	if err != nil {
		b.Fatal(err)
	}
	empty := heap()
	refreshes, took, _ := c.until(b, collected.scanner, inventory.Wanted{ClusterID: "c1"})
	c.requireDocumented(b, refreshes, took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(refreshes), "refreshes-until-complete")
	b.ReportMetric(float64(c.calls), "calls-until-complete")
	b.ReportMetric(took.Hours(), "h-until-complete")
	b.ReportMetric((heap()-empty)/(1<<20), "MiB-kept")

	const repeat = 3
	collected.last = c.now
	var metrics []prometheus.Metric
	before, calls := cpu(b), c.calls
	for range repeat {
		if metrics, err = collected.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu(b)-before).Seconds()/repeat, "CPU-s/refresh")
	b.ReportMetric(float64(c.calls-calls)/repeat, "calls/refresh")
	b.ReportMetric(float64(len(metrics)), "series")

	registry := prometheus.NewRegistry()
	registry.MustRegister(gathered{collected, metrics})
	before = cpu(b)
	for range repeat {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&bytes.Buffer{}, family); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(1000*(cpu(b)-before).Seconds()/repeat, "CPU-ms/scrape")
	b.ReportMetric(peak(b), "MiB-peak")
	runtime.KeepAlive(collected)
}

// gathered exposes what was collected.
type gathered struct {
	*Collector
	metrics []prometheus.Metric
}

func (g gathered) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range g.Families() {
		f.Describe(ch)
	}
}

func (g gathered) Collect(ch chan<- prometheus.Metric) {
	for _, m := range g.metrics {
		ch <- m
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peak is the most memory that the process ever had, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Maxrss) / 1024
}
