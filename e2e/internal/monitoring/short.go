//go:build e2e

package monitoring

import "fmt"

// Short is a _config of the mixin in which everything takes seconds, and
// notifications go to the webhook. extra, a jsonnet object, is added to it.
//
// The limit of the connection tracking table is not that of a node here, so
// that the alert on it has no place; and a forecast over seconds, of a table
// that is filled at once, says nothing.
func Short(webhook, extra string) string {
	return fmt.Sprintf(`{
  keepFiringFor: '2s',
  rateWindow: '10s',
  alerts:
    local short(step) = step + { 'for': '3s' } + (if std.objectHas(step, 'window') then { window: '10s' } else {});
    std.mapWithKey(function(name, steps) std.mapWithKey(function(severity, step) short(step), steps), super.alerts) + {
      ACKConntrackLimitLow: super.ACKConntrackLimitLow + { warning+: { below: 0 } },
      ACKConntrackTableFillingUp: super.ACKConntrackTableFillingUp + { warning+: { window: '20s', shortWindow: '10s', 'for': '10m' } },
    },
  alertmanager+: {
    criticalURL: 'http://%[1]s/pager',
    warningURL: 'http://%[1]s/tickets',
    groupWait: '1s',
    groupInterval: '1s',
  },
} + %[2]s`, webhook, extra)
}
