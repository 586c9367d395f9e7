package cql

func (*Constant) expr()     {}
func (*Marker) expr()       {}
func (*ListLiteral) expr()  {}
func (*SetLiteral) expr()   {}
func (*MapLiteral) expr()   {}
func (*TupleLiteral) expr() {}
func (*UDTLiteral) expr()   {}
func (*TypeHint) expr()     {}
func (*Call) expr()         {}
func (*Binary) expr()       {}
func (*Negate) expr()       {}
func (*Column) expr()       {}
func (*Element) expr()      {}
func (*Slice) expr()        {}
func (*Field) expr()        {}
func (*Cast) expr()         {}

func (e *Constant) String() string     { panic("contract") }
func (e *Marker) String() string       { panic("contract") }
func (e *ListLiteral) String() string  { panic("contract") }
func (e *SetLiteral) String() string   { panic("contract") }
func (e *MapLiteral) String() string   { panic("contract") }
func (e *TupleLiteral) String() string { panic("contract") }
func (e *UDTLiteral) String() string   { panic("contract") }
func (e *TypeHint) String() string     { panic("contract") }
func (e *Call) String() string         { panic("contract") }
func (e *Binary) String() string       { panic("contract") }
func (e *Negate) String() string       { panic("contract") }
func (e *Column) String() string       { panic("contract") }
func (e *Element) String() string      { panic("contract") }
func (e *Slice) String() string        { panic("contract") }
func (e *Field) String() string        { panic("contract") }
func (e *Cast) String() string         { panic("contract") }
func (t *TypeName) String() string     { panic("contract") }
