package mapping

func (m *Mapper) nativeProperties(in *input, res *Result, device string) error {
	b := trimText(in.pub.Payload)
	if err := checkText(b); err != nil {
		return err
	}
	s := scanners.get(b)
	defer scanners.put(s)
	s.space()
	if s.i >= len(b) || b[s.i] != '{' {
		return &Error{
			Code: CodeUndecodable, Message: "the payload is no object",
			Hint: "publish a single value to devices/" + device + "/properties/{name}",
		}
	}
	var when []byte
	var members []member
	err := s.object(0, func(mem member) error {
		if string(mem.key) == timestampKey {
			when = mem.value
			return nil
		}
		members = append(members, mem)
		return ValidName(string(mem.key))
	}, nil)
	if err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	if len(members) == 0 {
		return &Error{Code: CodeUndecodable, Message: "the object holds no value"}
	}
	st, err := in.stamp(when, res)
	if err != nil {
		return err
	}
	res.Records = make([]Record, 0, len(members))
	for _, mem := range members {
		value := mem.value
		if s.spaced {
			value = compact(value)
		}
		r := Record{Kind: KindProperty, Device: device, Name: string(mem.key), Value: value, Time: st.time, TimeFrom: st.from, Origin: native}
		if err := m.emit(in, res, r, nil); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mapper) nativeProperty(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	value, err := oneValue(in.pub.Payload)
	if err != nil {
		return err
	}
	return m.emit(in, res, Record{
		Kind: KindProperty, Device: device, Name: name, Value: value, Time: in.now, TimeFrom: Receipt, Origin: native,
	}, nil)
}

func (m *Mapper) nativeGet(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	res.Events = append(res.Events, PropertyQuery{Device: device, Name: name, Response: in.reply()})
	return nil
}

// reply returns where the sender wants an answer (MQTT 5), or nil.
func (in *input) reply() *Reply {
	if in.pub.ResponseTopic == "" {
		return nil
	}
	return &Reply{Topic: in.pub.ResponseTopic, Correlation: in.pub.CorrelationData}
}
