package traefik

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
)

// satisfies reports whether labels match a constraints expression of a
// provider: Label(`name`, `value`) and LabelRegex(`name`, `regexp`), joined by
// !, && and ||. An expression that is none of that is an error; Traefik ignores
// every container then.
func satisfies(expression string, labels map[string]string) (bool, error) {
	if expression == "" {
		return true, nil
	}
	tree, err := parser.ParseExpr(expression)
	if err != nil {
		return false, fmt.Errorf("read constraints %s: %w", expression, err)
	}
	ok, err := holds(tree, labels)
	if err != nil {
		return false, fmt.Errorf("read constraints %s: %w", expression, err)
	}
	return ok, nil
}

func holds(node ast.Expr, labels map[string]string) (bool, error) {
	switch n := node.(type) {
	case *ast.ParenExpr:
		return holds(n.X, labels)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			ok, err := holds(n.X, labels)
			return !ok, err
		}
	case *ast.BinaryExpr:
		left, err := holds(n.X, labels)
		if err != nil {
			return false, err
		}
		right, err := holds(n.Y, labels)
		switch n.Op {
		case token.LAND:
			return left && right, err
		case token.LOR:
			return left || right, err
		}
	case *ast.CallExpr:
		name, ok := n.Fun.(*ast.Ident)
		if !ok || len(n.Args) != 2 {
			break
		}
		var args [2]string
		for i, arg := range n.Args {
			literal, ok := arg.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return false, fmt.Errorf("%s wants two strings", name.Name)
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				return false, err
			}
			args[i] = text
		}
		switch name.Name {
		case "Label":
			return labels[args[0]] == args[1], nil
		case "LabelRegex", "LabelRegexp":
			match, err := regexp.MatchString(args[1], labels[args[0]])
			return match, err
		}
	}
	return false, fmt.Errorf("it may only hold Label, LabelRegex, !, && and ||")
}
