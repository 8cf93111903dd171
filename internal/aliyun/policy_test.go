package aliyun

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const policyFile = "../../docs/ram-policy.json"

// The policy that the project ships and the actions of this package are the same set:
// neither grows alone. Credentials come from where no policy is asked.
func TestPolicy(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Version   string
		Statement []struct {
			Effect, Resource string
			Action           []string
		}
	}
	if err := json.Unmarshal(content, &policy); err != nil {
		t.Fatal(err)
	}
	if len(policy.Statement) != 1 || policy.Version != "1" || policy.Statement[0].Effect != "Allow" || policy.Statement[0].Resource != "*" {
		t.Fatalf("not one statement that allows actions: %+v", policy)
	}
	got, want := slices.Sorted(slices.Values(policy.Statement[0].Action)), declaredActions(t)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%s allows\n%s\nthe actions are\n%s", policyFile, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// declaredActions reads the actions from the source, as RAM writes them, sorted.
func declaredActions(t *testing.T) []string {
	t.Helper()
	products := map[string]Product{"ECS": ECS, "SLB": SLB, "VPC": VPC, "Quotas": Quotas}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.CompositeLit); ok && isIdentifier(literal.Type, "Action") {
				actions = append(actions, readAction(t, literal, products)...)
			}
			return true
		})
	}
	slices.Sort(actions)
	return actions
}

func isIdentifier(e ast.Expr, name string) bool {
	identifier, ok := e.(*ast.Ident)
	return ok && identifier.Name == name
}

// readAction is the action of a literal such as Action{ECS, "DescribeInstances"}, or
// none where it is about credentials.
func readAction(t *testing.T, literal *ast.CompositeLit, products map[string]Product) []string {
	t.Helper()
	if len(literal.Elts) != 2 {
		t.Fatalf("an Action with %d elements", len(literal.Elts))
	}
	product, isName := literal.Elts[0].(*ast.Ident)
	name, isText := literal.Elts[1].(*ast.BasicLit)
	if !isName || !isText {
		t.Fatal("an Action that is not made of a product and a text")
	}
	if product.Name == "sts" || product.Name == "metadata" {
		return nil
	}
	text, err := strconv.Unquote(name.Value)
	if err != nil || products[product.Name] == "" {
		t.Fatalf("an Action of %s with the name %s", product.Name, name.Value)
	}
	return []string{string(products[product.Name]) + ":" + text}
}
