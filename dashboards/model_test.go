package dashboards_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// What dashboards are made of. Decoding is strict: a field that is not here is
// one that Grafana does not know, or that nothing checks.

type dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	Editable      *bool    `json:"editable"`
	SchemaVersion int      `json:"schemaVersion"`
	Refresh       string   `json:"refresh"`
	Timezone      string   `json:"timezone"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	GraphTooltip int `json:"graphTooltip"`
	Annotations  struct {
		List []struct{} `json:"list"`
	} `json:"annotations"`
	Links      []dashboardLink `json:"links"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type dashboardLink struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url"`
}

type variable struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Label       string          `json:"label"`
	Datasource  *datasource     `json:"datasource"`
	Query       json.RawMessage `json:"query"`
	Refresh     int             `json:"refresh"`
	Regex       string          `json:"regex"`
	Sort        int             `json:"sort"`
	Hide        int             `json:"hide"`
	Multi       bool            `json:"multi"`
	IncludeAll  bool            `json:"includeAll"`
	AllValue    string          `json:"allValue"`
	Current     json.RawMessage `json:"current"`
	Options     []struct{}      `json:"options"`
	SkipURLSync bool            `json:"skipUrlSync"`
}

type variableQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	PluginVersion   string           `json:"pluginVersion"`
	Datasource      *datasource      `json:"datasource"`
	GridPos         gridPos          `json:"gridPos"`
	Targets         []target         `json:"targets"`
	FieldConfig     fieldConfig      `json:"fieldConfig"`
	Options         json.RawMessage  `json:"options"`
	Transformations []transformation `json:"transformations"`
	Collapsed       bool             `json:"collapsed"`
	Panels          []struct{}       `json:"panels"`
}

type gridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

type target struct {
	Datasource   *datasource `json:"datasource"`
	Expr         string      `json:"expr"`
	Format       string      `json:"format"`
	Instant      bool        `json:"instant"`
	Range        bool        `json:"range"`
	LegendFormat string      `json:"legendFormat"`
	RefID        string      `json:"refId"`
}

type fieldConfig struct {
	Defaults struct {
		Color      json.RawMessage `json:"color"`
		Custom     json.RawMessage `json:"custom"`
		Decimals   *int            `json:"decimals"`
		Links      []dataLink      `json:"links"`
		Mappings   json.RawMessage `json:"mappings"`
		Max        *float64        `json:"max"`
		Min        *float64        `json:"min"`
		NoValue    string          `json:"noValue"`
		Thresholds thresholds      `json:"thresholds"`
		Unit       string          `json:"unit"`
	} `json:"defaults"`
	Overrides []override `json:"overrides"`
}

type override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options string `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

// emptiesCells tells whether it has cells without a value say nothing, in all columns.
func (o override) emptiesCells() bool {
	return o.Matcher.ID == "byRegexp" && o.Matcher.Options == ".*" && len(o.Properties) == 1 &&
		o.Properties[0].ID == "noValue" && string(o.Properties[0].Value) == `""`
}

type dataLink struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	} `json:"steps"`
}

type transformation struct {
	ID      string `json:"id"`
	Options struct {
		ExcludeByName map[string]bool   `json:"excludeByName"`
		IncludeByName map[string]bool   `json:"includeByName"`
		IndexByName   map[string]int    `json:"indexByName"`
		RenameByName  map[string]string `json:"renameByName"`
	} `json:"options"`
}

// Options of the types of panels.

type legend struct {
	Calcs       []string `json:"calcs"`
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	ShowLegend  bool     `json:"showLegend"`
	SortBy      string   `json:"sortBy"`
	SortDesc    bool     `json:"sortDesc"`
}

type timeseriesOptions struct {
	Legend  legend `json:"legend"`
	Tooltip struct {
		HideZeros bool   `json:"hideZeros"`
		Mode      string `json:"mode"`
		Sort      string `json:"sort"`
	} `json:"tooltip"`
}

type reduceOptions struct {
	Calcs  []string `json:"calcs"`
	Fields string   `json:"fields"`
	Values bool     `json:"values"`
}

type statOptions struct {
	ColorMode              string        `json:"colorMode"`
	GraphMode              string        `json:"graphMode"`
	JustifyMode            string        `json:"justifyMode"`
	Orientation            string        `json:"orientation"`
	PercentChangeColorMode string        `json:"percentChangeColorMode"`
	ReduceOptions          reduceOptions `json:"reduceOptions"`
	ShowPercentChange      bool          `json:"showPercentChange"`
	TextMode               string        `json:"textMode"`
	WideLayout             bool          `json:"wideLayout"`
}

type bargaugeOptions struct {
	DisplayMode   string        `json:"displayMode"`
	Legend        legend        `json:"legend"`
	MaxVizHeight  int           `json:"maxVizHeight"`
	MinVizHeight  int           `json:"minVizHeight"`
	MinVizWidth   int           `json:"minVizWidth"`
	NamePlacement string        `json:"namePlacement"`
	Orientation   string        `json:"orientation"`
	ReduceOptions reduceOptions `json:"reduceOptions"`
	ShowUnfilled  bool          `json:"showUnfilled"`
	Sizing        string        `json:"sizing"`
	ValueMode     string        `json:"valueMode"`
}

type tableOptions struct {
	CellHeight string `json:"cellHeight"`
	FrameIndex int    `json:"frameIndex"`
	ShowHeader bool   `json:"showHeader"`
	SortBy     []struct {
		DisplayName string `json:"displayName"`
		Desc        bool   `json:"desc"`
	} `json:"sortBy"`
}

type textOptions struct {
	Code struct {
		Language        string `json:"language"`
		ShowLineNumbers bool   `json:"showLineNumbers"`
		ShowMiniMap     bool   `json:"showMiniMap"`
	} `json:"code"`
	Content string `json:"content"`
	Mode    string `json:"mode"`
}

// strict decodes one JSON document, and nothing that v has no place for.
func strict(document []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}
