package hnv

// The tree of a script. at is the offset of a node in the text.

type node interface{ offset() int }

type at int

func (a at) offset() int { return int(a) }

type (
	// text is a string, of literal text (a string) and what is expanded in it (a node).
	text struct {
		at
		parts []any
	}
	number struct {
		at
		value int64
	}
	variable struct {
		at
		name string // lower case, without scope
		env  bool   // of the environment, or of another provider
	}
	member struct {
		at
		of     node
		name   node // nil where it is no text
		static bool
		call   bool
		args   []node
	}
	index struct {
		at
		of, by node
	}
	binary2 struct {
		at
		op   string // lower case, without dash and c or i
		l, r node
	}
	unary struct {
		at
		op string
		x  node
	}
	cast struct {
		at
		typ string // lower case
		x   node   // nil: the type itself
	}
	list struct {
		at
		elems []node
	}
	// sub is $( ) and @( ), the latter always an array.
	sub struct {
		at
		body  []node
		array bool
	}
	table struct {
		at
		keys, values []node
	}
	block struct {
		at
		params []param
		body   []node
		policy bool // there are Network Virtualization cmdlets in it
	}
	param struct {
		name  string
		value node
	}
	pipeline struct {
		at
		parts []node
	}
	command struct {
		at
		name node // text, nearly always
		args []argument
	}
	// argument is a parameter with its value, a parameter alone (a switch, or
	// its value follows), a value alone, or a splatted variable.
	argument struct {
		at
		param string // lower case; "" for a value alone
		value node
		splat bool
	}
	assign struct {
		at
		to    node
		op    string
		value node
	}
	// statements that steer
	ifStmt struct {
		at
		conds  []node
		blocks []*block // one more than conds where there is an else
	}
	loop struct {
		at
		init, cond, next node
		body             *block
		after, until     bool // the condition stands behind the body; is negated
	}
	foreach struct {
		at
		name string
		in   node
		body *block
	}
	switchStmt struct {
		at
		on      node
		cases   []node // nil is default
		blocks  []*block
		unknown bool // by regular expressions, files and the like
	}
	function struct {
		at
		name string
		body *block
	}
	try struct {
		at
		body, finally *block
		policy        bool // in a catch
	}
	flow struct {
		at
		kind  string // return, break, continue, exit, throw
		value node
	}
	skipped struct {
		at
		what   string
		policy bool
	}
)
