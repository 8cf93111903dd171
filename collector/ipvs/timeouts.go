package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"ack-exporter/collector"
)

// The generic netlink interface of IPVS (include/uapi/linux/ip_vs.h).
const (
	familyName       = "IPVS" // IPVS_GENL_NAME
	familyVersion    = 1      // IPVS_GENL_VERSION
	commandGetConfig = 13     // IPVS_CMD_GET_CONFIG
	attrTimeoutTCP   = 4      // IPVS_CMD_ATTR_TIMEOUT_TCP
	attrTimeoutFIN   = 5      // IPVS_CMD_ATTR_TIMEOUT_TCP_FIN
	attrTimeoutUDP   = 6      // IPVS_CMD_ATTR_TIMEOUT_UDP
)

// defaultDeadline bounds the exchange where the context does not.
const defaultDeadline = 5 * time.Second

// timeoutProtocol names one of the three timeouts.
type timeoutProtocol string

var timeoutProtocols = []timeoutProtocol{"tcp", "tcp_fin", "udp"}

// timeouts are in seconds. One that the kernel does not have is missing.
type timeouts map[timeoutProtocol]uint32

// readTimeouts asks the kernel for the timeouts of this network namespace. The
// family is looked up each time: its number changes when the module is loaded
// again. It needs CAP_NET_ADMIN in the initial user namespace.
//
// The caller makes sure that IPVS is loaded. Where it is not, the kernel would
// load it for the look-up (MODULE_ALIAS_GENL_FAMILY), and an exporter must not
// change the node.
func readTimeouts(ctx context.Context) (timeouts, error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("generic netlink: %w", err)
	}
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(defaultDeadline)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("generic netlink: %w", err)
	}
	return requestTimeouts(conn)
}

func requestTimeouts(conn *genetlink.Conn) (timeouts, error) {
	family, err := conn.GetFamily(familyName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("IPVS was unloaded: %w", collector.ErrNotApplicable)
	}
	if err != nil {
		return nil, fmt.Errorf("generic netlink family of IPVS: %w", err)
	}
	request := genetlink.Message{Header: genetlink.Header{Command: commandGetConfig, Version: familyVersion}}
	replies, err := conn.Execute(request, family.ID, netlink.Request)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("timeouts of IPVS: CAP_NET_ADMIN is needed: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("timeouts of IPVS: %w", err)
	}
	if len(replies) != 1 {
		return nil, fmt.Errorf("timeouts of IPVS: %d replies instead of one: %w", len(replies), collector.ErrDecode)
	}
	return decodeTimeouts(replies[0].Data)
}

// decodeTimeouts reads the attributes of the reply to GET_CONFIG.
func decodeTimeouts(b []byte) (timeouts, error) {
	attributes, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, fmt.Errorf("timeouts of IPVS: %w: %w", collector.ErrDecode, err)
	}
	t := make(timeouts)
	for attributes.Next() {
		switch attributes.Type() {
		case attrTimeoutTCP:
			t["tcp"] = attributes.Uint32()
		case attrTimeoutFIN:
			t["tcp_fin"] = attributes.Uint32()
		case attrTimeoutUDP:
			t["udp"] = attributes.Uint32()
		}
	}
	if err := attributes.Err(); err != nil {
		return nil, fmt.Errorf("timeouts of IPVS: %w: %w", collector.ErrDecode, err)
	}
	if len(t) == 0 {
		return nil, fmt.Errorf("timeouts of IPVS: the reply has none: %w", collector.ErrDecode)
	}
	return t, nil
}
