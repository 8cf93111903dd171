//go:build e2e

package cloud

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Role is what a workload can become.
type Role struct {
	ARN, ProviderARN string
	// Tokens are the tokens of service accounts that are taken for it.
	Tokens []string
}

// Environment has the exporter assume the role with --cloud.credentials=oidc.
// tokenFile is where it reads its token, host where it reaches STS.
func (r Role) Environment(tokenFile, host string) []string {
	return []string{
		"ALIBABA_CLOUD_ROLE_ARN=" + r.ARN, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN=" + r.ProviderARN,
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE=" + tokenFile, "ALIBABA_CLOUD_STS_ENDPOINT=" + host,
	}
}

const (
	stsVersion = "2015-04-01"
	assumeRole = "sts:AssumeRoleWithOIDC"

	minSession, maxSession = 15 * time.Minute, 12 * time.Hour
	defaultSession         = time.Hour
	// metadataSession is how long the credentials of an instance are good.
	metadataSession = 6 * time.Hour
)

func stsName(version, action string) string {
	if version != stsVersion {
		return ":" + action
	}
	return "sts:" + action
}

// SetTokens replaces the tokens of service accounts that are taken for the role.
func (c *Cloud) SetTokens(tokens ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
	for _, token := range tokens {
		c.tokens[token] = true
	}
}

// SetSessionDuration has all sessions from now on be so long, whatever is asked; 0: as
// asked.
func (c *Cloud) SetSessionDuration(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifetime = d
}

// ExpireSessions ends all sessions at once.
func (c *Cloud) ExpireSessions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, key := range c.keys {
		if key.Token != "" {
			key.End = time.Now()
			c.keys[id] = key
		}
	}
}

// RoleCredentials begins a session, and describes it as the metadata service of an
// instance with a role does.
func (c *Cloud) RoleCredentials() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := c.session(metadataSession)
	body["Code"], body["LastUpdated"] = "Success", time.Now().UTC().Format(time.RFC3339)
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // it consists of texts
	}
	return string(b)
}

// session begins one. It is called with the lock held.
func (c *Cloud) session(d time.Duration) object {
	if c.lifetime != 0 {
		d = c.lifetime
	}
	id := strings.ReplaceAll(requestID(), "-", "")
	key := Key{
		ID: "STS." + id[:24], Secret: strings.ReplaceAll(requestID(), "-", ""), Token: "CAIS" + c.mac("session", id),
		End: time.Now().Add(d),
	}
	c.keys[key.ID] = key
	return object{
		"AccessKeyId": key.ID, "AccessKeySecret": key.Secret, "SecurityToken": key.Token, "Expiration": key.End.UTC().Format(time.RFC3339),
	}
}

// assumeParameters are those of AssumeRoleWithOIDC, the common ones included.
var assumeParameters = []string{
	"Action", "Version", "Format", "Timestamp", "SignatureNonce", "RoleArn", "OIDCProviderArn", "OIDCToken", "RoleSessionName",
	"DurationSeconds", "Policy",
}

// assume answers AssumeRoleWithOIDC, which nobody signs: the token says who asks.
func (c *Cloud) assume(r request, fault Fault) (object, error) {
	form, err := url.ParseQuery(string(r.body))
	if err != nil || r.Method != http.MethodPost {
		return nil, refuse(http.StatusBadRequest, "InvalidParameter", "The parameters are not a form.")
	}
	for name, values := range r.URL.Query() {
		form[name] = append(form[name], values...)
	}
	for name := range form {
		if !slices.Contains(assumeParameters, name) {
			return nil, refuse(http.StatusBadRequest, "InvalidParameter", "There is no parameter %s.", name)
		}
	}
	for _, name := range []string{"RoleArn", "OIDCProviderArn", "OIDCToken", "RoleSessionName"} {
		if form.Get(name) == "" {
			return nil, refuse(http.StatusBadRequest, "MissingParameter."+name, "%s is mandatory for this action.", name)
		}
	}
	stamp, err := time.Parse(time.RFC3339, form.Get("Timestamp"))
	if err != nil || time.Now().Add(fault.skew()).Sub(stamp).Abs() > tolerance {
		return nil, refuse(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	d, err := sessionDuration(form.Get("DurationSeconds"))
	switch {
	case err != nil:
		return nil, err
	case c.role.ARN == "" || form.Get("RoleArn") != c.role.ARN:
		return nil, refuse(http.StatusNotFound, "EntityNotExist.Role", "The role not exists.")
	case form.Get("OIDCProviderArn") != c.role.ProviderARN, fault.Kind == Deny:
		return nil, refuse(http.StatusBadRequest, "AuthenticationFail.NoPermission", "This operation is forbidden by the trust policy of the role.")
	case !c.tokens[form.Get("OIDCToken")]:
		return nil, refuse(http.StatusBadRequest, "AuthenticationFail.OIDCToken.Expired", "This JSON Web Token has expired.")
	}
	return object{
		"Credentials":     c.session(d),
		"AssumedRoleUser": object{"Arn": c.role.ARN + "/" + form.Get("RoleSessionName"), "AssumedRoleId": "3000000000000000:" + form.Get("RoleSessionName")},
	}, nil
}

func sessionDuration(asked string) (time.Duration, error) {
	if asked == "" {
		return defaultSession, nil
	}
	seconds, err := strconv.Atoi(asked)
	if d := time.Duration(seconds) * time.Second; err == nil && d >= minSession && d <= maxSession {
		return d, nil
	}
	return 0, refuse(http.StatusBadRequest, "InvalidParameter.DurationSeconds", "The Min/Max value of DurationSeconds is 15min/12hr.")
}
