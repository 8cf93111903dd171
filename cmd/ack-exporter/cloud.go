package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"ack-exporter/internal/aliyun"
)

// noCredentials says that the API of the cloud is not asked.
const noCredentials = "none"

// cloudFlags say whether and how the API of the cloud is asked.
type cloudFlags struct {
	credentials, region, network string
	metadataEndpoint, clusterID  string
	endpoints                    map[string]string
	rate                         float64
	budget                       int
	timeout                      time.Duration
	insecure                     bool
}

func (f *cloudFlags) add(cmd *kingpin.CmdClause) {
	f.endpoints = make(map[string]string)
	cmd.Flag("cloud.credentials", "Where credentials for the API of Alibaba Cloud come from: oidc (RRSA), environment, ecs-role; none: it is not asked.").
		Default(noCredentials).EnumVar(&f.credentials, noCredentials, string(aliyun.OIDC), string(aliyun.Environment), string(aliyun.ECSRole))
	cmd.Flag("cloud.region", "Region of the cluster; default: ALIBABA_CLOUD_REGION_ID or ALIBABA_CLOUD_STS_REGION of the environment.").StringVar(&f.region)
	cmd.Flag("cloud.network", "Where the API is reached: vpc or public.").
		Default(string(aliyun.VPCNetwork)).EnumVar(&f.network, string(aliyun.VPCNetwork), string(aliyun.PublicNetwork))
	cmd.Flag("cloud.cluster-id", "Id of the ACK cluster; default: what the labels of its nodes say.").StringVar(&f.clusterID)
	cmd.Flag("cloud.rate", "Requests a second to each product of the API.").Default(fmt.Sprint(aliyun.DefaultRate)).Float64Var(&f.rate)
	cmd.Flag("cloud.budget", "Requests in any minute to all products together.").Default(fmt.Sprint(aliyun.DefaultBudget)).IntVar(&f.budget)
	cmd.Flag("cloud.timeout", "Longest wait for one answer of the API.").Default(aliyun.DefaultTimeout.String()).DurationVar(&f.timeout)
	cmd.Flag("cloud.endpoint", "Host of a product's API in place of the one that follows from region and network, as ecs=host[:port]; may be repeated.").
		StringMapVar(&f.endpoints)
	cmd.Flag("cloud.metadata-endpoint", "Metadata service for the credentials ecs-role, as http://host[:port].").StringVar(&f.metadataEndpoint)
	cmd.Flag("cloud.insecure", "Ask the API by HTTP in place of HTTPS. For simulations.").BoolVar(&f.insecure)
}

// cloud is the API, and what is counted of it. api is nil where it is not to be asked.
type cloud struct {
	api    aliyun.API
	region string
	usage  *aliyun.Usage
	close  func()
}

// open makes the client, with what getenv knows of the environment. Nothing is asked yet.
func (f *cloudFlags) open(getenv func(string) string) (cloud, error) {
	c := cloud{usage: aliyun.NewUsage(), close: func() {}}
	if f.credentials == noCredentials {
		return c, nil
	}
	region := cmp.Or(f.region, getenv("ALIBABA_CLOUD_REGION_ID"), getenv("ALIBABA_CLOUD_STS_REGION"))
	if region == "" {
		return c, errors.New("--cloud.region: needed for --cloud.credentials")
	}
	if f.rate <= 0 || f.budget <= 0 || f.timeout <= 0 {
		return c, errors.New("--cloud.rate, --cloud.budget, --cloud.timeout: not positive")
	}
	credentials, err := aliyun.NewCredentials(aliyun.CredentialsConfig{
		Mode: aliyun.Mode(f.credentials), Getenv: getenv, Region: region, Network: aliyun.Network(f.network),
		MetadataURL: f.metadataEndpoint, Insecure: f.insecure,
	}, c.usage)
	if err != nil {
		return c, fmt.Errorf("--cloud.credentials=%s: %w", f.credentials, err)
	}
	endpoints := make(map[aliyun.Product]string)
	for product, host := range f.endpoints {
		endpoints[aliyun.Product(strings.ToLower(product))] = host
	}
	client, err := aliyun.NewClient(aliyun.Config{
		Region: region, Network: aliyun.Network(f.network), Endpoints: endpoints,
		Rate: f.rate, Budget: f.budget, Timeout: f.timeout, Insecure: f.insecure,
		UserAgent: programName + "/" + version.Version,
	}, credentials, c.usage)
	if err != nil {
		return c, fmt.Errorf("--cloud: %w", err)
	}
	c.api, c.region, c.close = client, region, client.Close
	return c, nil
}
