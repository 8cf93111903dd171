// Package mixin renders the rule pack and the dashboards from their jsonnet
// sources in this folder. The exporter embeds the rendered files and does not
// link this package; tests use it, with other values of _config where they
// cannot wait for real durations.
package mixin

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"

	"github.com/google/go-jsonnet"
	"sigs.k8s.io/yaml"
)

//go:embed *.libsonnet alerts catalogue/catalogue.yaml dashboards lib rules
var sources embed.FS

// Pack is what the mixin renders to.
type Pack struct {
	// Rules is a Prometheus rule file: the recording rules, then the alerts.
	Rules []byte
	// Alertmanager is an example of its configuration.
	Alertmanager []byte
	// Dashboards are the JSON of Grafana dashboards by file name.
	Dashboards map[string][]byte
}

// header stands above each rendered YAML file.
const header = "# Rendered from mixin/ by `make mixin`. Edit the sources there.\n"

// Render renders the pack. config is a jsonnet object that is added to _config,
// as in `{ alerts+: { ACKExporterDown+: { warning+: { 'for': '1m' } } } }`; `{}`
// leaves the defaults.
func Render(config string) (*Pack, error) {
	vm := jsonnet.MakeVM()
	vm.Importer(&importer{contents: map[string]jsonnet.Contents{}})
	text, err := vm.EvaluateAnonymousSnippet("render.jsonnet", fmt.Sprintf(`
local mixin = (import 'mixin.libsonnet') + { _config+:: %s };
{
  rules: { groups: mixin.prometheusRules.groups + mixin.prometheusAlerts.groups },
  alertmanager: mixin.alertmanagerConfig,
  dashboards: mixin.grafanaDashboards,
}`, config))
	if err != nil {
		return nil, fmt.Errorf("render the mixin: %w", err)
	}
	var rendered struct {
		Rules, Alertmanager json.RawMessage
		Dashboards          map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &rendered); err != nil {
		return nil, fmt.Errorf("decode what jsonnet made: %w", err)
	}
	pack := &Pack{Dashboards: map[string][]byte{}}
	if pack.Rules, err = toYAML(rendered.Rules); err != nil {
		return nil, err
	}
	if pack.Alertmanager, err = toYAML(rendered.Alertmanager); err != nil {
		return nil, err
	}
	for name, dashboard := range rendered.Dashboards {
		pack.Dashboards[name], err = json.MarshalIndent(dashboard, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		pack.Dashboards[name] = append(pack.Dashboards[name], '\n')
	}
	return pack, nil
}

func toYAML(document json.RawMessage) ([]byte, error) {
	b, err := yaml.JSONToYAML(document)
	if err != nil {
		return nil, fmt.Errorf("encode as YAML: %w", err)
	}
	return append([]byte(header), b...), nil
}

// importer finds the sources wherever the program runs.
type importer struct {
	contents map[string]jsonnet.Contents
}

// Import implements jsonnet.Importer. It returns the same Contents for the same
// file each time, as that demands.
func (i *importer) Import(importedFrom, importedPath string) (jsonnet.Contents, string, error) {
	name := path.Join(path.Dir(importedFrom), importedPath)
	if contents, ok := i.contents[name]; ok {
		return contents, name, nil
	}
	b, err := sources.ReadFile(name)
	if err != nil {
		return jsonnet.Contents{}, "", err
	}
	i.contents[name] = jsonnet.MakeContents(string(b))
	return i.contents[name], name, nil
}
