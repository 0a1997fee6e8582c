// Says what Argo makes of conditions, expressions and tags: a JSON object a line in, one a line out.
//
// The records in tests/workflows/local/language.json are its answers:
//
//	cd tests/oracles/argo_language
//	cp "$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-workflows/v3@v3.7.16)"/go.{mod,sum} .
//	go mod edit -module oracle -require github.com/argoproj/argo-workflows/v3@v3.7.16
//	python record.py
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/Knetic/govaluate"
	"github.com/argoproj/argo-workflows/v3/util/expr/env"
	"github.com/argoproj/argo-workflows/v3/util/template"
	"github.com/expr-lang/expr"
)

type question struct {
	Kind   string         `json:"kind"`
	Text   string         `json:"text"`
	Vars   map[string]any `json:"vars"`
	Strict bool           `json:"strict"`
}

type answer struct {
	Value any    `json:"value"`
	Error string `json:"error"`
}

// condition does what shouldExecute of the controller's steps.go does: a word that is no variable is a text.
func condition(text string) (any, error) {
	parsed, err := govaluate.NewEvaluableExpression(text)
	if err != nil {
		return nil, err
	}
	tokens := parsed.Tokens()
	for i := range tokens {
		if tokens[i].Kind == govaluate.VARIABLE {
			tokens[i].Kind = govaluate.STRING
		}
	}
	if parsed, err = govaluate.NewEvaluableExpressionFromTokens(tokens); err != nil {
		return nil, err
	}
	return parsed.Evaluate(nil)
}

func expression(text string, vars map[string]any) (any, error) {
	environment := env.GetFuncMap(vars)
	program, err := expr.Compile(text, expr.Env(environment))
	if err != nil {
		return nil, err
	}
	return expr.Run(program, environment)
}

func tag(text string, vars map[string]any, strict bool) (any, error) {
	document, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	var replaced, result string
	if strict {
		replaced, err = template.ReplaceStrictAny(string(document), vars, []string{"tasks", "steps"})
	} else {
		replaced, err = template.Replace(string(document), vars, true)
	}
	if err == nil {
		err = json.Unmarshal([]byte(replaced), &result)
	}
	return result, err
}

func answerTo(asked question) (found answer) {
	defer func() {
		if reason := recover(); reason != nil {
			found = answer{Error: fmt.Sprint(reason)}
		}
	}()
	var value any
	var err error
	switch asked.Kind {
	case "when":
		value, err = condition(asked.Text)
	case "expression":
		value, err = expression(asked.Text, asked.Vars)
	case "tag":
		value, err = tag(asked.Text, asked.Vars, asked.Strict)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Value: value}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		line, err := json.Marshal(answerTo(asked))
		if err != nil {
			line = []byte(`{"value": null, "error": "no JSON"}`)
		}
		fmt.Println(string(line))
	}
}
