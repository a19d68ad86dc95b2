package tenant

// MarshalJSON implements [Object].
func (o GatewayMAC) MarshalJSON() ([]byte, error) {
	c, _ := as[GatewayMAC](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *GatewayMAC) UnmarshalJSON(b []byte) error {
	*o = GatewayMAC{}
	return unmarshalFields("gateway-mac", o.fields(), b)
}

// MarshalJSON implements [Object].
func (o HostObject) MarshalJSON() ([]byte, error) {
	c, _ := as[HostObject](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *HostObject) UnmarshalJSON(b []byte) error {
	*o = HostObject{}
	return unmarshalFields("host", o.fields(), b)
}

// MarshalJSON implements [Object].
func (o RoutingDomainObject) MarshalJSON() ([]byte, error) {
	c, _ := as[RoutingDomainObject](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *RoutingDomainObject) UnmarshalJSON(b []byte) error {
	*o = RoutingDomainObject{}
	return unmarshalFields("routing domain", o.fields(), b)
}

// MarshalJSON implements [Object].
func (o SubnetObject) MarshalJSON() ([]byte, error) {
	c, _ := as[SubnetObject](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *SubnetObject) UnmarshalJSON(b []byte) error {
	*o = SubnetObject{}
	return unmarshalFields("subnet", o.fields(), b)
}

// MarshalJSON implements [Object].
func (o RecordObject) MarshalJSON() ([]byte, error) {
	c, _ := as[RecordObject](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *RecordObject) UnmarshalJSON(b []byte) error {
	*o = RecordObject{Options: new(RecordOptions)}
	err := unmarshalFields("record", o.fields(), b)
	o.Options = o.Options.given()
	return err
}

// MarshalJSON implements [Object].
func (o RouteObject) MarshalJSON() ([]byte, error) {
	c, _ := as[RouteObject](o)
	return marshalFields(c.fields())
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [DecodeObject].
func (o *RouteObject) UnmarshalJSON(b []byte) error {
	*o = RouteObject{}
	return unmarshalFields("route", o.fields(), b)
}
