package aliyun

import "context"

const (
	vpcPage   = 50
	routePage = 100
)

// RouteTable is a route table of a VPC.
type RouteTable struct {
	ID string `json:"RouteTableId"`
	// Type is System or Custom.
	Type  string `json:"RouteTableType"`
	VPCID string `json:"VpcId"`
}

type routeTablesPage struct {
	TotalCount Integer
	List       *struct {
		Rows []RouteTable `json:"RouterTableListType"`
	} `json:"RouterTableList"`
}

func (p *routeTablesPage) total() int { return int(p.TotalCount) }

func (p *routeTablesPage) rows() ([]RouteTable, bool) {
	if p.List == nil {
		return nil, false
	}
	return p.List.Rows, true
}

// RouteTables lists the route tables of a VPC, 50 in a call.
func RouteTables(ctx context.Context, api API, vpc string) ([]RouteTable, error) {
	return byNumber[RouteTable, routeTablesPage](ctx, api, describeRouteTables, vpcPage, map[string]any{"VpcId": vpc})
}

// RouteEntry is a route.
type RouteEntry struct {
	ID string `json:"RouteEntryId"`
	// Type is Custom, System, BGP, CEN or ECR.
	Type string
	// Status is Available, Pending or Modifying.
	Status      string
	Destination string `json:"DestinationCidrBlock"`
	NextHops    struct {
		NextHop []struct {
			// Type is Instance for the routes of nodes.
			Type string `json:"NextHopType"`
			ID   string `json:"NextHopId"`
		}
	}
}

type routeEntriesPage struct {
	NextToken string
	Entries   *struct {
		Rows []RouteEntry `json:"RouteEntry"`
	} `json:"RouteEntrys"`
}

func (p *routeEntriesPage) next() string { return p.NextToken }

func (p *routeEntriesPage) rows() ([]RouteEntry, bool) {
	if p.Entries == nil {
		return nil, false
	}
	return p.Entries.Rows, true
}

// CustomRoutes lists the custom entries of a route table, which are those that its
// quota counts, 100 in a call. The size of a page has another name here than anywhere.
func CustomRoutes(ctx context.Context, api API, table string) ([]RouteEntry, error) {
	return byToken[RouteEntry, routeEntriesPage](ctx, api, describeRouteEntries, map[string]any{
		"RouteTableId": table, "RouteEntryType": "Custom", "MaxResult": routePage,
	})
}

// VSwitch is a vSwitch.
type VSwitch struct {
	ID     string `json:"VSwitchId"`
	VPCID  string `json:"VpcId"`
	ZoneID string `json:"ZoneId"`
	CIDR   string `json:"CidrBlock"`
	Status string
	// Available is the number of free addresses, nil where the API does not tell.
	Available *Integer `json:"AvailableIpAddressCount"`
}

type vSwitchesPage struct {
	TotalCount Integer
	VSwitches  *struct{ VSwitch []VSwitch }
}

func (p *vSwitchesPage) total() int { return int(p.TotalCount) }

func (p *vSwitchesPage) rows() ([]VSwitch, bool) {
	if p.VSwitches == nil {
		return nil, false
	}
	return p.VSwitches.VSwitch, true
}

// VSwitches lists the vSwitches of a VPC, 50 in a call.
func VSwitches(ctx context.Context, api API, vpc string) ([]VSwitch, error) {
	return byNumber[VSwitch, vSwitchesPage](ctx, api, describeVSwitches, vpcPage, map[string]any{"VpcId": vpc})
}
