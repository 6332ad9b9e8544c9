package template

// Limits of what is read. The nesting of extends and of schemas is the specification's; the others keep a folder that was named
// by mistake from eating the gateway's memory.
const (
	MaxFileBytes    = 16 << 20 // one file
	MaxTotalBytes   = 96 << 20 // all files of a load
	MaxFiles        = 32768    // files of a load
	MaxExtendsDepth = 10       // levels of extends (12 in DTDL v4)
	MaxSchemaDepth  = 5        // complex schemas in one another (8 in DTDL v4)
	MaxContents     = 100_000  // elements of an interface, with what it inherits
	MaxValueDepth   = 64       // objects and arrays of a value in one another
	MaxProblems     = 200      // problems listed by a load
	MaxFaults       = 8        // faults listed for a value

	maxFileDepth = 64
)

// extendsDepth and schemaDepth are the limits of a version of DTDL.
func extendsDepth(version int) int {
	if version >= 4 {
		return MaxExtendsDepth + 2
	}
	return MaxExtendsDepth
}

func schemaDepth(version int) int {
	if version >= 4 {
		return MaxSchemaDepth + 3
	}
	return MaxSchemaDepth
}
