package auth

import "testing"

func TestNewRefuses(t *testing.T) {
	good := Token{"edge", Hash("secret"), []string{"*"}}
	for name, tokens := range map[string][]Token{
		"none":           nil,
		"no name":        {{"", good.SHA256, good.Sources}},
		"bad name":       {{"a b", good.SHA256, good.Sources}},
		"twice":          {good, good},
		"short hash":     {{"edge", "abcd", good.Sources}},
		"plain token":    {{"edge", "secret", good.Sources}},
		"no sources":     {{"edge", good.SHA256, nil}},
		"wrong wildcard": {{"edge", good.SHA256, []string{"ng*"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tokens); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	s, err := New([]Token{{"edge", Hash("one"), []string{"nginx.*", "litellm.proxy"}}, {"all", Hash("two"), []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		token, source string
		known, may    bool
	}{
		"vendor":       {"one", "nginx.access", true, true},
		"exact":        {"one", "litellm.proxy", true, true},
		"other":        {"one", "kubernetes.audit", true, false},
		"vendor alone": {"one", "nginx", true, false},
		"prefix":       {"one", "nginxx.access", true, false},
		"all":          {"two", "kubernetes.audit", true, true},
		"wrong":        {"three", "nginx.access", false, false},
		"empty":        {"", "nginx.access", false, false},
		"the hash":     {Hash("one"), "nginx.access", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := s.Check(tc.token)
			if ok != tc.known || id.May(tc.source) != tc.may {
				t.Errorf("known %v, may %v", ok, id.May(tc.source))
			}
		})
	}
}
