package hnv_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/hnv"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// FuzzImport checks that any input gives a policy that can be written and read, or
// problems, each with words and in the order of the script, in bounded time.
func FuzzImport(f *testing.F) {
	scripts, err := filepath.Glob("testdata/*.ps1")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range scripts {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{
		"for(;;){$a+=$a}", "$a='x'*60000;while(1){$b+=,$a}", "@\"\n$(1..9|%{$_})\n\"@", "switch(1){1{2}default{3}}", "function f($a=f){f f};f", "do{}until($a++ -gt 3)",
		"$h=@{a=1;'b'=@(1,2)};$h.a;$h['b'][0..1]", "&{param($a)$a} 1", "if(1){}elseif(2){}else{}", "try{1}catch [x],[y]{2}finally{3}", "$a,$b=1,2", "[int]$x='5';-$x+!1",
		"a 2>&1 >b --% c", "\"$a.b $($c.d) `n\"", "\xff\xfea\x00", "{{{{((((", "$a[0][1].b.c(1,2)::d", "1,2,3|where{$_ -gt 1}|foreach{$_}", "$x=@{}\n$x.y=$x\n$x|%{$_}",
		"$a=@(1);$a[0]=$a;\"$a\"", "$h=@{};$h.h=$h;\"$($h.h)\" -f $h",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		p, notes, err := hnv.ImportBounded("p.ps1", data, 20_000)
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("took %s", d)
		}
		for _, n := range notes {
			if n.Message == "" || n.Kind == 0 {
				t.Fatalf("note %+v", n)
			}
		}
		if err != nil {
			var e *hnv.Error
			if p != nil || !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("policy %v, error %T %v", p, err, err)
			}
			line := 0
			for _, q := range e.Problems {
				if q.Message == "" || q.Position.Line < line {
					t.Fatalf("problem without words, or out of order: %v", e)
				}
				line = q.Position.Line
			}
			return
		}
		out, err := policyfile.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := policyfile.Parse("p.yaml", out, 0); err != nil || !q.Equal(p) {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
