package mapping

func (m *Mapper) nativeResponse(in *input, res *Result, device, name, id string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	ev := CommandResponse{Device: device, Name: name, ID: id, Status: StatusCompleted}
	if len(in.pub.Payload) > 0 {
		value, err := oneValue(in.pub.Payload)
		if err != nil {
			return err
		}
		if int64(len(value)) > m.cfg.MaxRecordBytes {
			return tooLarge(len(value), m.cfg.MaxRecordBytes)
		}
		if !structuredResponse(value, &ev) {
			ev.Result = value
		}
	}
	res.Events = append(res.Events, ev)
	return nil
}

// structuredResponse reads {"status": ..., "result": ...}; anything else is a bare result.
func structuredResponse(value []byte, ev *CommandResponse) bool {
	if value[0] != '{' {
		return false
	}
	s := scanners.get(value)
	defer scanners.put(s)
	status, others := "", false
	var result []byte
	err := s.object(0, func(mem member) error {
		switch string(mem.key) {
		case "status":
			status = string(mem.value)
		case "result":
			result = mem.value
		default:
			others = true
		}
		return nil
	}, nil)
	if err != nil || others {
		return false
	}
	switch status {
	case `"Completed"`:
		ev.Status = StatusCompleted
	case `"Failed"`:
		ev.Status = StatusFailed
	default:
		return false
	}
	ev.Result = result
	return true
}

func (m *Mapper) nativeTrigger(in *input, res *Result, device, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	var args []byte
	if len(in.pub.Payload) > 0 {
		var err error
		if args, err = oneValue(in.pub.Payload); err != nil {
			return err
		}
		if string(args) == "null" {
			args = nil
		} else if args[0] != '{' {
			return &Error{Code: CodeUndecodable, Message: "the arguments of a command are no JSON object"}
		}
	}
	return m.emit(in, res, Record{
		Kind: KindCommand, Device: device, Name: name, Value: args, Time: in.now, TimeFrom: Receipt, Origin: native, Response: in.reply(),
	}, nil)
}
