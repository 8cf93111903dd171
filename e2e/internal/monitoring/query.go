//go:build e2e

package monitoring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// get returns the answer to a request that must succeed.
func (s *Stack) get(ctx context.Context, address, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("GET %s%s: %w", address, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s%s: status %d: %.500s", address, path, resp.StatusCode, body)
	}
	return body, nil
}

// api asks Prometheus and decodes the data of the answer.
func (s *Stack) api(ctx context.Context, path string, data any) error {
	body, err := s.get(ctx, s.config.PrometheusAddress, path)
	if err != nil {
		return err
	}
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// Sample is one element of an instant vector.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression that gives an instant vector, now.
func (s *Stack) Query(ctx context.Context, expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := s.api(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("%s is a %s, not a vector", expr, data.ResultType)
	}
	samples := make([]Sample, 0, len(data.Result))
	for _, r := range data.Result {
		text, ok := r.Value[1].(string)
		if !ok {
			return nil, errors.New("a sample without a value")
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, Sample{r.Metric, value})
	}
	return samples, nil
}

// Active is an alert that Alertmanager knows of.
type Active struct {
	Labels map[string]string
	Status struct {
		// State is active or suppressed.
		State       string
		InhibitedBy []string
	}
}

// Active lists the alerts that Alertmanager knows of.
func (s *Stack) Active(ctx context.Context) ([]Active, error) {
	body, err := s.get(ctx, s.config.AlertmanagerAddress, "/api/v2/alerts")
	if err != nil {
		return nil, err
	}
	var alerts []Active
	if err := json.Unmarshal(body, &alerts); err != nil {
		return nil, fmt.Errorf("the alerts of Alertmanager: %w", err)
	}
	return alerts, nil
}
