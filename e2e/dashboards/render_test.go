//go:build e2e

package dashboards

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"time"

	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/world"
)

const (
	pageWidth = 1600
	// maxHeight is that of the window: tables do not draw what is outside.
	maxHeight = 8000
	// drawTimeout is for one dashboard, which takes some seconds.
	drawTimeout = time.Minute
)

// Report is what the page says of each dashboard.
type Report []DashboardReport

// DashboardReport is what the page says of one dashboard. Its fields are those of
// app/src/report.ts.
type DashboardReport struct {
	// File is the name of the dashboard's file.
	File string `json:"file"`

	UID       string           `json:"uid"`
	Title     string           `json:"title"`
	Height    int              `json:"height"`
	Problems  []string         `json:"problems"`
	Variables []VariableReport `json:"variables"`
	Panels    []PanelReport    `json:"panels"`

	picture []byte
}

// VariableReport is a variable and what was chosen for it.
type VariableReport struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	Options []string `json:"options"`
}

// PanelReport is what was asked for a panel and what was drawn.
type PanelReport struct {
	ID       int            `json:"id"`
	Title    string         `json:"title"`
	Type     string         `json:"type"`
	Problems []string       `json:"problems"`
	Targets  []TargetReport `json:"targets"`
	Marks    int            `json:"marks"`
	Text     string         `json:"text"`
}

// TargetReport is one query of a panel.
type TargetReport struct {
	RefID  string `json:"refId"`
	Expr   string `json:"expr"`
	Series int    `json:"series"`
	Values int    `json:"values"`
	Error  string `json:"error"`
}

// prepare skips the test where it cannot draw, and builds what takes long the first
// time: nothing else should wait for that.
func prepare(t testing.TB) {
	t.Helper()
	world.RequireTools(t, "chromium")
	page(t)
}

// prometheusOf is the Prometheus of a world.
func prometheusOf(w *world.World) http.Handler {
	return &httputil.ReverseProxy{
		Transport: &http.Transport{DialContext: w.Dial},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: monitoring.PrometheusAddress})
		},
	}
}

// render draws all dashboards (*.json) of a folder, with what Prometheus has of a
// range of time. vars sets variables, which all dashboards must have.
func render(t testing.TB, prometheus http.Handler, dashboards fs.FS, vars map[string]string, from, to time.Time) Report {
	t.Helper()
	server := serve(t, prometheus, dashboards)
	names, err := fs.Glob(dashboards, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d dashboards: %v", len(names), err)
	}
	b := startBrowser(t)
	var report Report
	for _, name := range names {
		query := url.Values{"dashboard": {name}, "from": {seconds(from)}, "to": {seconds(to)}}
		for variable, value := range vars {
			query.Set("var-"+variable, value)
		}
		start := time.Now()
		drawn, err := b.draw(server + "/?" + query.Encode())
		if err != nil {
			t.Fatalf("draw %s: %v; the browser says: %q", name, err, b.problems)
		}
		t.Logf("%s: drawn in %s", name, time.Since(start).Round(time.Millisecond))
		drawn.File = name
		report = append(report, *drawn)
	}
	return report
}

func seconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// serve serves the page, the dashboards and Prometheus to the browser.
func serve(t testing.TB, prometheus http.Handler, dashboards fs.FS) string {
	t.Helper()
	files := http.FileServer(http.Dir(page(t)))
	mux := http.NewServeMux()
	mux.Handle("/", files)
	mux.Handle("/build/img/", http.StripPrefix("/build", files)) // icons, where Grafana has them
	mux.Handle("/dashboards/", http.StripPrefix("/dashboards", http.FileServerFS(dashboards)))
	mux.Handle("/prom/", http.StripPrefix("/prom", prometheus))
	server := httptest.NewServer(mux) // on 127.0.0.1
	t.Cleanup(server.Close)
	return server.URL
}

// draw opens the page in a tab of its own, waits until it is drawn, and takes a
// picture of all of it.
func (b *browser) draw(address string) (*DashboardReport, error) {
	b.problems = nil
	// Without its end, nothing would interrupt a browser that hangs.
	kill := time.AfterFunc(drawTimeout, b.kill)
	defer kill.Stop()
	session, closeTab, err := b.openTab()
	if err != nil {
		return nil, err
	}
	defer closeTab()
	if err := b.call(session, "Page.navigate", object{"url": address}, nil); err != nil {
		return nil, err
	}
	var evaluated struct {
		Result struct{ Value DashboardReport }
	}
	params := object{"expression": "settledReport", "awaitPromise": true, "returnByValue": true}
	if err := b.call(session, "Runtime.evaluate", params, &evaluated); err != nil {
		return nil, err
	}
	report := evaluated.Result.Value
	if report.picture, err = b.picture(session, max(report.Height, 1)); err != nil {
		return nil, err
	}
	report.Problems = append(report.Problems, b.problems...)
	if report.Height > maxHeight {
		report.Problems = append(report.Problems, fmt.Sprintf("a height of %d pixels, more than %d", report.Height, maxHeight))
	}
	return &report, nil
}

// openTab opens an empty tab in which the page will find window.settled.
func (b *browser) openTab() (session string, closeTab func(), err error) {
	var target struct{ TargetID string }
	if err := b.call("", "Target.createTarget", object{"url": "about:blank"}, &target); err != nil {
		return "", nil, err
	}
	closeTab = func() { _ = b.call("", "Target.closeTarget", object{"targetId": target.TargetID}, nil) }
	var attached struct{ SessionID string }
	params := object{"targetId": target.TargetID, "flatten": true}
	if err := b.call("", "Target.attachToTarget", params, &attached); err != nil {
		return "", nil, err
	}
	for _, command := range []struct {
		method string
		params object
	}{
		{"Page.enable", nil},
		{"Runtime.enable", nil},
		{"Log.enable", nil},
		{"Emulation.setDeviceMetricsOverride", metrics(maxHeight)},
		{"Page.addScriptToEvaluateOnNewDocument", object{
			"source": "var settledReport = new Promise((resolve) => { window.settled = resolve; });",
		}},
	} {
		if err := b.call(attached.SessionID, command.method, command.params, nil); err != nil {
			return "", nil, err
		}
	}
	return attached.SessionID, closeTab, nil
}

func metrics(height int) object {
	return object{"width": pageWidth, "height": height, "deviceScaleFactor": 1, "mobile": false}
}

func (b *browser) picture(session string, height int) ([]byte, error) {
	if err := b.call(session, "Emulation.setDeviceMetricsOverride", metrics(height), nil); err != nil {
		return nil, err
	}
	var captured struct{ Data []byte }
	if err := b.call(session, "Page.captureScreenshot", object{"format": "png"}, &captured); err != nil {
		return nil, err
	}
	return captured.Data, nil
}

func (r Report) json(t testing.TB) []byte {
	t.Helper()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// String names a panel as the list of what may be empty does.
func (p PanelReport) String() string {
	return fmt.Sprintf("panel %q (%s, id %d)", p.Title, p.Type, p.ID)
}
