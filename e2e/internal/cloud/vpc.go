//go:build e2e

package cloud

import (
	"net/http"
	"slices"
)

// RouteTable is a route table of a VPC.
type RouteTable struct {
	ID, VPCID string
	// Type is System or Custom; empty: System.
	Type      string
	VSwitches []string
}

// RouteEntry is a route.
type RouteEntry struct {
	ID, TableID, Destination string
	// Type is Custom, System, BGP, CEN or ECR; empty: Custom.
	Type string
	// Status is Available, Pending or Modifying; empty: Available.
	Status string
	// NextHopType is such as Instance; empty: Instance.
	NextHopType, NextHopID string
}

// VSwitch is a vSwitch.
type VSwitch struct {
	ID, VPCID, ZoneID, CIDR string
	// Status is Available or Pending; empty: Available.
	Status string
	// Available is the number of free addresses.
	Available int
}

func (t RouteTable) key() string { return t.ID }
func (e RouteEntry) key() string { return e.ID }
func (s VSwitch) key() string    { return s.ID }

func (t RouteTable) copied() RouteTable {
	t.VSwitches = slices.Clone(t.VSwitches)
	return t
}

func (e RouteEntry) copied() RouteEntry { return e }
func (s VSwitch) copied() VSwitch       { return s }

func (t RouteTable) complete() RouteTable {
	or(&t.Type, "System")
	return t
}

func (e RouteEntry) complete() RouteEntry {
	or(&e.Type, "Custom")
	or(&e.Status, "Available")
	or(&e.NextHopType, "Instance")
	return e
}

func (s VSwitch) complete() VSwitch {
	or(&s.Status, "Available")
	return s
}

func (c *Cloud) vpc() []action {
	region := text("RegionId").need()
	return []action{
		{vpc, "DescribeRouteTableList", []parameter{
			region, text("VpcId"), text("RouteTableId"), text("RouteTableType", "System", "Custom"), text("RouterType", "VRouter", "VBR"),
			pageNumber(), number("PageSize", 1, 50, 10),
		}, c.describeRouteTables},
		{vpc, "DescribeRouteEntryList", []parameter{
			region, text("RouteTableId").need(), text("RouteEntryType", "Custom", "System", "BGP", "CEN", "ECR"), text("NextHopType"),
			text("DestinationCidrBlock"), text("NextToken"), number("MaxResult", 1, 100, 10),
		}, c.describeRouteEntries},
		{vpc, "DescribeVSwitches", []parameter{
			text("RegionId"), text("VpcId"), text("VSwitchId"), text("ZoneId"), pageNumber(), number("PageSize", 1, 50, 10),
		}, c.describeVSwitches},
	}
}

func (c *Cloud) describeRouteTables(q query) (object, error) {
	rows := c.RouteTables.sorted(func(t RouteTable) bool {
		return q.equal("VpcId", t.VPCID) && q.equal("RouteTableId", t.ID) && q.equal("RouteTableType", t.Type) && q.equal("RouterType", "VRouter")
	})
	all := []object{}
	for _, t := range numbered(q, rows) {
		switches := []string{}
		all = append(all, object{
			"RouteTableId": t.ID, "RouteTableType": t.Type, "VpcId": t.VPCID, "RouterType": "VRouter", "Status": "Available",
			"VSwitchIds": object{"VSwitchId": append(switches, t.VSwitches...)}, "RoutePropagationEnable": true,
		})
	}
	answer := q.pageOf(len(rows))
	answer["RouterTableList"] = object{"RouterTableListType": all}
	return answer, nil
}

func (c *Cloud) describeRouteEntries(q query) (object, error) {
	if _, ok := c.RouteTables.rows[q.text("RouteTableId")]; !ok {
		return nil, refuse(http.StatusNotFound, "InvalidRouteTableId.NotFound", "The specified RouteTableId does not exist.")
	}
	rows := c.RouteEntries.sorted(func(e RouteEntry) bool {
		return e.TableID == q.text("RouteTableId") && q.equal("RouteEntryType", e.Type) && q.equal("NextHopType", e.NextHopType) &&
			q.equal("DestinationCidrBlock", e.Destination)
	})
	page, next, err := byToken(q, rows, "MaxResult")
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, e := range page {
		all = append(all, object{
			"RouteEntryId": e.ID, "RouteTableId": e.TableID, "DestinationCidrBlock": e.Destination, "Type": e.Type, "Status": e.Status,
			"NextHops": object{"NextHop": []object{{"NextHopType": e.NextHopType, "NextHopId": e.NextHopID, "Enabled": 1, "Weight": 0}}},
		})
	}
	return object{"RouteEntrys": object{"RouteEntry": all}, "NextToken": next}, nil
}

func (c *Cloud) describeVSwitches(q query) (object, error) {
	if q.text("RegionId") == "" && q.text("VpcId") == "" {
		return nil, refuse(http.StatusBadRequest, "MissingParameter", "RegionId or VpcId is mandatory for this action.")
	}
	rows := c.VSwitches.sorted(func(s VSwitch) bool {
		return q.equal("VpcId", s.VPCID) && q.equal("VSwitchId", s.ID) && q.equal("ZoneId", s.ZoneID)
	})
	all := []object{}
	for _, s := range numbered(q, rows) {
		all = append(all, object{
			"VSwitchId": s.ID, "VpcId": s.VPCID, "ZoneId": s.ZoneID, "CidrBlock": s.CIDR, "Status": s.Status, "AvailableIpAddressCount": s.Available,
		})
	}
	answer := q.pageOf(len(rows))
	answer["VSwitches"] = object{"VSwitch": all}
	return answer, nil
}
